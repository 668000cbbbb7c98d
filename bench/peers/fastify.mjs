/** The same service on Fastify, under Node, with its JSON schemas. */
import Fastify from "fastify";
import { isPrime, ready } from "./shared.mjs";

const app = Fastify();
const object = (name, type) => ({ type: "object", properties: { [name]: { type } }, required: [name] });
const schema = { body: object("n", "integer"), response: { 200: object("prime", "boolean") } };
app.post("/bench/isPrime", { schema }, async (request) => ({ prime: isPrime(request.body.n) }));

await app.listen({ host: "127.0.0.1", port: 0 });
ready({ port: app.server.address().port });
