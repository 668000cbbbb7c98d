/** The same service on the neighbours, over HTTP/1.1. */
import { Missing, type Section } from "../lib/bench.ts";
import { generator } from "../lib/load.ts";
import { CONNECTIONS, LOAD_COLUMNS, type Loaded, loadRow, underLoad } from "../lib/rounds.ts";
import type { Peer } from "../lib/servers.ts";

const PEERS: readonly { readonly peer: Peer; readonly name: string; readonly path: string }[] = [
  { peer: "hono", name: "Hono, zod (Bun)", path: "/bench/isPrime" },
  { peer: "fastify", name: "Fastify, JSON schema (Node)", path: "/bench/isPrime" },
  { peer: "trpc", name: "tRPC, zod (Node)", path: "/isPrime" },
  { peer: "connect", name: "ConnectRPC, Protobuf schema, JSON (Node)", path: "/bench.Bench/IsPrime" },
];

export const peers: Section = {
  name: "peers",
  title: "The same service on other frameworks, over HTTP/1.1",
  async run(bench) {
    const targets: Loaded[] = [{ server: await bench.servers.backtalk(), path: "/bench/isPrime" }];
    const names = ["Backtalk, zod (Bun)"];
    const notes = [`load by ${generator("h1")}, ${CONNECTIONS} connections; each with the validation customary there`];
    for (const { peer, name, path } of PEERS) {
      try {
        targets.push({ server: await bench.servers.peer(peer), path });
        names.push(name);
      } catch (thrown) {
        if (!(thrown instanceof Missing)) throw thrown;
        notes.push(`${name} was not measured: ${thrown.message}`);
      }
    }
    const samples = await underLoad(bench, "h1", targets);
    const rows = samples.map((own, i) => loadRow(names[i]!, own, samples[0]!));
    return { tables: [{ columns: LOAD_COLUMNS, rows }], notes: [...notes, "ratios are to Backtalk"] };
  },
};
