/** The same service on ConnectRPC, as gRPC over HTTP/2. */
import { createServer } from "node:http2";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Bench } from "./prime_pb.mjs";
import { isPrime, ready, TEXT } from "./shared.mjs";

const routes = (router) =>
  router.service(Bench, {
    isPrime: ({ n }) => ({ prime: isPrime(n) }),
    async *count({ to }) {
      for (let n = 0; n < to; n++) yield { n, text: TEXT };
    },
  });
const server = createServer(connectNodeAdapter({ routes }));
server.listen(0, "127.0.0.1", () => ready({ port: server.address().port }));
