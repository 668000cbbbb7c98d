/** Recorded calls, each awaited and on the disk before it is answered, beside the bare insert of the same rows. */
import { join } from "node:path";
import type { Section } from "../lib/bench.ts";
import { generator, measure, type Sample } from "../lib/load.ts";
import { output } from "../lib/proc.ts";
import { CONNECTIONS, cpu, interleaved, rate } from "../lib/rounds.ts";
import { median } from "../lib/stats.ts";
import type { Cell } from "../lib/table.ts";

const AIM = 10_000;
const INSERT = join(import.meta.dir, "../servers/insert.ts");

export const recorded: Section = {
  name: "recorded",
  title: "Recorded calls: on the disk before they are answered",
  async run(bench) {
    const servers = {
      full: await bench.servers.backtalk({ sync: "full" }),
      normal: await bench.servers.backtalk({ sync: "normal" }),
      memory: await bench.servers.backtalk({ store: "memory:" }),
    };
    bench.say(`keyed calls of ${CONNECTIONS} clients (${generator("h1")}), and the bare insert`);
    const calls = (store: keyof typeof servers) => (): Promise<Sample> => {
      const { url, pid } = servers[store];
      const keys = crypto.randomUUID().slice(0, 8);
      const load = { url: `${url}/bench/isPrime`, body: '{"n":97}', seconds: bench.seconds, dir: bench.dir, keys };
      return measure("h1", { ...load, connections: CONNECTIONS }, pid);
    };
    const insert = async (): Promise<Sample> => {
      const options = { path: join(bench.dir, `insert-${crypto.randomUUID()}.sqlite`), seconds: bench.seconds };
      const command = [process.execPath, INSERT, JSON.stringify({ ...options, batch: CONNECTIONS })];
      return { p50: undefined, p99: undefined, ...JSON.parse(await output(command)) };
    };
    const variants = [calls("full"), calls("normal"), calls("memory"), insert];
    const [full = [], normal = [], memory = [], bare = []] = await interleaved(bench.rounds, variants);
    const row = (name: string, samples: readonly Sample[]): Cell[] => {
      const of = (field: "p50" | "p99") => median(samples.map((sample) => sample[field] ?? Number.NaN));
      return [name, rate(samples), cpu(samples), of("p50"), of("p99")];
    };
    const perSecond = rate(full);
    return {
      tables: [
        {
          columns: ["", "calls/s", "CPU µs/call", "p50 ms", "p99 ms"],
          rows: [
            row("Backtalk, sqlite synchronous=FULL (default)", full),
            row("Backtalk, sqlite synchronous=NORMAL", normal),
            row("Backtalk, memory store", memory),
            row(`bare insert, synchronous=FULL, ${CONNECTIONS} calls a transaction`, bare),
          ],
        },
      ],
      aims: [
        {
          what: `recorded calls with fsync, ${CONNECTIONS} clients`,
          measured: `${Math.round(perSecond).toLocaleString("en-US")} a second`,
          aim: `at least ${AIM.toLocaleString("en-US")}`,
          met: perSecond >= AIM,
        },
      ],
      notes: [
        `each call has an Idempotency-Key of its own over HTTP/1.1, and is answered when its two events (open, end) and ` +
          `its entry in the catalog are stored; load by ${generator("h1")}`,
        "the bare insert writes the same rows in one loop, without network, keys, checks or a second thread",
      ],
    };
  },
};
