/** The same service on ConnectRPC, under Node: its JSON form, validated by the Protobuf schema. */
import { createServer } from "node:http";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Bench } from "./prime_pb.mjs";
import { isPrime, ready } from "./shared.mjs";

const routes = (router) => router.service(Bench, { isPrime: ({ n }) => ({ prime: isPrime(n) }) });
const server = createServer(connectNodeAdapter({ routes }));
server.listen(0, "127.0.0.1", () => ready({ port: server.address().port }));
