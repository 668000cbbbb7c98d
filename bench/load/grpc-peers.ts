/** Clients of the neighbours: each server is called by the client of its own library. */
import { join } from "node:path";
import type { Caller } from "./ways.ts";

const PROTO = join(import.meta.dir, "../peers/prime.proto");

export async function peerCaller(name: string, port: number): Promise<Caller> {
  return name.startsWith("grpc-js") ? grpcJs(port) : await connectRpc(port);
}

interface GrpcClient {
  isPrime(input: object, done: (error: Error | null, output: unknown) => void): void;
  count(input: object): AsyncIterable<unknown>;
  close(): void;
}

async function grpcJs(port: number): Promise<Caller> {
  const [grpc, loader] = await Promise.all([import("@grpc/grpc-js"), import("@grpc/proto-loader")]);
  const { bench } = grpc.loadPackageDefinition(loader.loadSync(PROTO)) as unknown as {
    bench: { Bench: new (address: string, credentials: object) => GrpcClient };
  };
  const client = new bench.Bench(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  return {
    unary: () =>
      new Promise((resolve, reject) => {
        client.isPrime({ n: 97 }, (error, output) => (error ? reject(error) : resolve(output)));
      }),
    async stream(items) {
      let came = 0;
      for await (const _ of client.count({ to: items })) came++;
      return came;
    },
    close: () => client.close(),
  };
}

async function connectRpc(port: number): Promise<Caller> {
  const [{ createClient }, { createGrpcTransport }, { Bench }] = await Promise.all([
    import("@connectrpc/connect"),
    import("@connectrpc/connect-node"),
    import("../peers/prime_pb.mjs"),
  ]);
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const client = createClient(Bench, transport) as unknown as {
    isPrime(input: object): Promise<unknown>;
    count(input: object): AsyncIterable<unknown>;
  };
  return {
    unary: () => client.isPrime({ n: 97 }),
    async stream(items) {
      let came = 0;
      for await (const _ of client.count({ to: items })) came++;
      return came;
    },
    close() {},
  };
}
