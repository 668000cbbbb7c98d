/** The same service on @grpc/grpc-js. */
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { isPrime, ready, TEXT } from "./shared.mjs";

const definition = loader.loadSync(fileURLToPath(new URL("./prime.proto", import.meta.url)));
const { bench } = grpc.loadPackageDefinition(definition);
const server = new grpc.Server();
server.addService(bench.Bench.service, {
  isPrime: ({ request }, done) => done(null, { prime: isPrime(request.n) }),
  async count(call) {
    for (let n = 0; n < call.request.to; n++) {
      if (!call.write({ n, text: TEXT })) await new Promise((resolve) => call.once("drain", resolve));
    }
    call.end();
  },
});
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  ready({ port });
});
