/** Calls, jobs and events through RabbitMQ, beside what bare rabbitmq-client does with the same broker. */
import { join } from "node:path";
import { checkBroker } from "../../src/transports/amqp/check.ts";
import { noBroker, startBroker } from "../../suites/broker/broker.ts";
import { type Bench, Missing, type Section } from "../lib/bench.ts";
import { Child, cpuUs } from "../lib/proc.ts";
import { interleaved } from "../lib/rounds.ts";
import { median } from "../lib/stats.ts";
import type { Cell, Table } from "../lib/table.ts";
import type { BrokerOrder, CallsFigures, EventsFigures, Path, Way } from "../load/broker.ts";

const PROGRAM = join(import.meta.dir, "../load/broker.ts");
const SERVICE = "broker-service.ts";
const AT_ONCE = 32;
/** Events that are published at once. */
const EVENTS_AT_ONCE = 64;
const MOST_MS = 120_000;
/** Queues of the bare answers, and one that nobody takes from. */
const QUEUES = { safe: "bench.safe", fast: "bench.fast", unread: "bench.unread" };

export const amqp: Section = {
  name: "amqp",
  title: "Through RabbitMQ",
  async run(bench) {
    const missing = noBroker();
    if (missing !== undefined) throw new Missing(missing);
    bench.say("starting a broker");
    const broker = await startBroker();
    const load = new Child([process.execPath, PROGRAM]);
    try {
      const setting = await start(bench, broker, load);
      return { tables: [await calls(setting), await jobs(setting), await events(setting)], notes: notesOf(setting) };
    } finally {
      await Promise.all([load.end(), bench.servers.endAll()]);
      await broker.stop();
    }
  },
};

/** What takes part. */
interface Setting {
  readonly bench: Bench;
  readonly pids: Readonly<Record<"broker" | "server" | "worker" | "bare", number>>;
  readonly version: string;
  ask<T>(order: BrokerOrder): Promise<T>;
}

async function start(bench: Bench, broker: { url: string; pid: number }, load: Child): Promise<Setting> {
  const { servers } = bench;
  const { url } = broker;
  const server = await servers.served(SERVICE, ["--amqp", url, "--amqp-topics", "joined"]);
  const worker = await servers.worker(SERVICE, ["--amqp", url, "--concurrency", String(AT_ONCE)]);
  const bare = await servers.answers({ url, ...QUEUES });
  const ask = async <T>(order: BrokerOrder): Promise<T> => {
    const answer = await load.ask<T & { error?: string }>(order, MOST_MS);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  };
  await ask({ do: "open", broker: url, server: server.url });
  const { version } = await checkBroker(url, undefined, 10_000);
  const pids = { broker: broker.pid, server: server.pid, worker: worker.pid, bare: bare.pid };
  return { bench, pids, version, ask };
}

async function calls(setting: Setting): Promise<Table> {
  const { server, bare } = setting.pids;
  const message = (to: Envelope, isSure = true): Way => ({ by: "message", to, isSure });
  const queue = (routingKey: string): Envelope => ({ routingKey });
  const method = (name: string): Envelope => ({ exchange: "backtalk.calls", routingKey: `bench.${name}` });
  const variants: Variant[] = [
    { name: "publish with confirm alone", way: { by: "publish", to: queue(QUEUES.unread) }, pids: [] },
    { name: "bare echo, nothing is kept", way: message(queue(QUEUES.fast), false), pids: [bare] },
    { name: "bare echo, quorum, confirms", way: message(queue(QUEUES.safe)), pids: [bare] },
    { name: "Backtalk, plain messages", way: message(method("look")), pids: [server] },
    { name: "Backtalk, plain, recorded", way: message(method("isPrime")), pids: [server] },
    { name: "Backtalk's client", way: { by: "backtalk", method: "bench/look" }, pids: [server] },
    { name: "Backtalk's client, recorded", way: { by: "backtalk", method: "bench/isPrime" }, pids: [server] },
  ];
  return await callsTable(setting, "Round trips", ["server µs"], variants);
}

async function jobs(setting: Setting): Promise<Table> {
  const { server, worker } = setting.pids;
  const variants: Variant[] = [
    { name: "without a worker", way: { by: "websocket", method: "bench/isPrime" }, pids: [server] },
    { name: "job of a worker", way: { by: "websocket", method: "bench/job" }, pids: [server, worker] },
  ];
  return await callsTable(
    setting,
    "Jobs, and the same call recorded without a worker; called over WebSocket",
    ["server µs", "worker µs"],
    variants,
  );
}

type Envelope = Extract<Way, { readonly by: "message" }>["to"];

interface Variant {
  readonly name: string;
  readonly way: Way;
  /** Whose CPU time is told besides the broker's: of the columns in their order. */
  readonly pids: readonly number[];
}

interface CallsSample {
  readonly one: CallsFigures;
  readonly many: CallsFigures;
  /** CPU of each call of the many, in µs: the broker's first. */
  readonly cpu: readonly number[];
}

async function callsTable(
  { bench, pids, ask }: Setting,
  title: string,
  cpuColumns: readonly string[],
  variants: readonly Variant[],
): Promise<Table> {
  bench.say(`${title}: ${variants.map(({ name }) => name).join("; ")}`);
  const ms = (bench.seconds * 1_000) / 2;
  const runs = variants.map((variant) => async (): Promise<CallsSample> => {
    const one = await ask<CallsFigures>({ do: "calls", way: variant.way, atOnce: 1, ms });
    const cpuOf = usage([pids.broker, ...variant.pids]);
    const many = await ask<CallsFigures>({ do: "calls", way: variant.way, atOnce: AT_ONCE, ms });
    return { one, many, cpu: cpuOf(many.count) };
  });
  const samples = await interleaved(bench.rounds, runs);
  const rows = variants.map(({ name, pids: own }, i): Cell[] => {
    const of = (value: (sample: CallsSample) => number) => median(samples[i]!.map(value));
    const cpu = cpuColumns.map((_, at) => (own[at] === undefined ? undefined : of((each) => each.cpu[at + 1]!)));
    return [
      name,
      of(({ one }) => one.perSecond),
      of(({ one }) => one.p50),
      of(({ one }) => one.p99),
      of(({ many }) => many.perSecond),
      of(({ many }) => many.p99),
      ...cpu,
      of((each) => each.cpu[0]!),
    ];
  });
  const columns = ["", "one: /s", "p50 ms", "p99 ms", `${AT_ONCE}: /s`, "p99 ms", ...cpuColumns, "broker µs"];
  return { title, columns, rows };
}

async function events({ bench, pids, ask }: Setting): Promise<Table> {
  const count = bench.quick ? 1_000 : 10_000;
  const paths: (Path & { readonly name: string })[] = [
    { name: "bare, from publisher to consumer", topic: "bare", exchange: "bench.topics", from: "broker", to: "broker" },
    { name: "Backtalk, a topic without a broker", ...BRIDGE, topic: "apart", from: "server", to: "server" },
    { name: "Backtalk, from topic to consumer", ...BRIDGE, from: "server", to: "broker" },
    { name: "Backtalk, from publisher to topic", ...BRIDGE, from: "broker", to: "server" },
  ];
  bench.say(`events: ${paths.map(({ name }) => name).join("; ")}`);
  const runs = paths.map((path) => async () => {
    const cpuOf = usage([pids.server, pids.broker]);
    const { perSecond } = await ask<EventsFigures>({ do: "events", path, count, atOnce: EVENTS_AT_ONCE });
    return { perSecond, cpu: cpuOf(count) };
  });
  const samples = await interleaved(bench.rounds, runs);
  const rows = paths.map(({ name }, i): Cell[] => {
    const cpu = (at: number) => median(samples[i]!.map((each) => each.cpu[at]!));
    return [name, median(samples[i]!.map(({ perSecond }) => perSecond)), cpu(0), cpu(1)];
  });
  return { title: "Events of a topic", columns: ["", "events/s", "server µs", "broker µs"], rows };
}

const BRIDGE = { topic: "joined", exchange: "backtalk.topics" } as const;

/** CPU time of each process from now on, in µs for each of `count`. */
function usage(pids: readonly number[]): (count: number) => number[] {
  const before = pids.map(cpuUs);
  return (count) => pids.map((pid, i) => ((cpuUs(pid) ?? Number.NaN) - (before[i] ?? Number.NaN)) / count);
}

function notesOf({ version }: Setting): string[] {
  return [
    `RabbitMQ ${version}, one node with one scheduler, on this machine, which it shares with the server, the worker and the ` +
      "load; all that is kept is on its disk too. Another broker is another benchmark: compare the rows, not the figures",
    `one: a call after the other; ${AT_ONCE}: so many at once. CPU is of each call of the latter: of the one who answers, and of ` +
      "the broker",
    "nothing is kept: a queue of one connection, no acknowledgements, no confirms. Quorum, confirms is what Backtalk does: " +
      "durable messages in a quorum queue, each publish confirmed, and the request acknowledged when its answer is. The " +
      "answers go to direct reply-to; those to Backtalk's own client to a queue of its own",
    "Backtalk is `backtalk serve --amqp` with its defaults: input and output are checked, recorded calls are in SQLite with " +
      "synchronous=FULL before they are answered",
    `a job is recorded, published, claimed and granted, answered and stored: five messages; a worker of ${AT_ONCE} at once`,
    `events have a hundred characters, ${EVENTS_AT_ONCE} are published at once, each confirmed or stored; from the first that is ` +
      "published to the last that is there, at a consumer of a quorum queue or a WebSocket of the server; one that comes " +
      "twice or not at all fails the section",
  ];
}
