/** A plain unary call beside a bare handler that parses and answers the same JSON, over HTTP/1.1, 2 and 3. */
import { Missing, type Section } from "../lib/bench.ts";
import { generator, type Protocol } from "../lib/load.ts";
import { LOAD_COLUMNS, loadRow, ratioAim, underLoad } from "../lib/rounds.ts";
import type { Aim, Cell } from "../lib/table.ts";

const PATH = "/bench/isPrime";
const AIM = 0.85;
const PROTOCOLS: readonly Protocol[] = ["h1", "h2", "h3"];
const NAMES = { h1: "HTTP/1.1", h2: "HTTP/2 (TLS)", h3: "HTTP/3" };
/** h2 and h3 carry many requests on each connection. */
const CONNECTIONS = { h1: 64, h2: 8, h3: 2 };

export const unary: Section = {
  name: "unary",
  title: "A unary call beside a bare Bun.serve handler",
  async run(bench) {
    const bare = await bench.servers.bare({ tls: true });
    const ours = await bench.servers.backtalk({ tls: true });
    const rows: Cell[][] = [];
    const aims: Aim[] = [];
    const notes: string[] = [];
    for (const protocol of PROTOCOLS) {
      const name = NAMES[protocol];
      try {
        const targets = [bare, ours].map((server) => ({ server, path: PATH }));
        const [base = [], samples = []] = await underLoad(bench, protocol, targets, {
          connections: CONNECTIONS[protocol],
        });
        rows.push(loadRow(`${name} bare`, base, base), loadRow(`${name} Backtalk`, samples, base));
        aims.push(ratioAim(`unary call over ${name} to bare`, AIM, samples, base));
        notes.push(`${name}: load by ${generator(protocol)}; ${CONNECTIONS[protocol]} connections`);
      } catch (thrown) {
        if (!(thrown instanceof Missing)) throw thrown;
        notes.push(`${name} was not measured: ${thrown.message}`);
      }
    }
    notes.push(
      "Backtalk validates input and output with zod; bare does not. The ratio by CPU is that of the servers' CPU time " +
        "for each request, and holds also when the generator is what limits.",
    );
    return { tables: [{ columns: LOAD_COLUMNS, rows }], aims, notes };
  },
};
