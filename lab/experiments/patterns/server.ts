/** A server for each flow, with the transport that its client uses; the jobs say their events when they are told to. */

import { TIMING } from "../../../src/contract/host.ts";
import { ANONYMOUS } from "../../../src/contract/index.ts";
import { describeProto } from "../../../src/describe/proto/index.ts";
import {
  type Certificate,
  type Core,
  createCore,
  grpcListener,
  httpHandler,
  memoryStore,
  rpcHandlers,
  serve,
  tcpListener,
  websocketHandler,
} from "../../../src/server.ts";
import { memoryPeer } from "../../../src/transports/memory/client.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import { Lateness } from "./lateness.ts";
import { type Made, studio } from "./studio.ts";
import { FASTER, type Flow, markOf } from "./ways.ts";

const now = monotonic(openLibc());
const lateness = new Lateness();

/** What one flow's job has done, in nanoseconds on the clock of the capture. */
export interface Said {
  readonly at: readonly number[];
  /** Bytes of the JSON of each event. */
  readonly bytes: readonly number[];
  /** When the last one had been said: then the job ends whose end is waited for. */
  readonly endedAt: number;
}

class Job {
  readonly begun = Promise.withResolvers<void>();
  /** Times from the start, in milliseconds. */
  readonly told = Promise.withResolvers<{ start: number; times: readonly number[] }>();
  readonly at: number[] = [];
  readonly bytes: number[] = [];
  endedAt = Number.NaN;
  readonly #flow: number;
  readonly #waits: boolean;

  /** @param waits whether its end is what the client waits for: then it ends with its last event */
  constructor(flow: number, waits: boolean) {
    this.#flow = flow;
    this.#waits = waits;
  }

  async work(say: (event: Made) => unknown): Promise<readonly Made[]> {
    this.begun.resolve();
    const { start, times } = await this.told.promise;
    const photos: Made[] = [];
    for (const [n, ms] of times.entries()) {
      await Bun.sleep(Math.max(0, start + ms - now() / 1e6));
      const event = { step: "resize to 320", done: n + 1, of: times.length, photo: markOf(this.#flow, n) };
      this.bytes.push(JSON.stringify(event).length);
      this.at.push(now());
      // A topic's event is stored before the next one, as a handler would have it.
      await say(event);
      photos.push(event);
    }
    this.endedAt = now();
    // An end would be one more thing to hear of: only the client that waits for it gets one.
    if (!this.#waits) await new Promise(() => {});
    return photos;
  }
}

const jobs: Job[] = [];

serveProgram({
  /** The port of each flow. */
  async serve(address: string, flows: readonly Flow[], tls: Certificate | null): Promise<number[]> {
    return await Promise.all(flows.map((flow, index) => open(address, flow, index, tls ?? undefined)));
  },
  /** Resolves when every job has been called. */
  async begun(): Promise<void> {
    await Promise.all(jobs.map((job) => job.begun.promise));
  },
  /** By flow the times of its events, in milliseconds from now. Gives the time from which they count, in nanoseconds. */
  go(times: readonly (readonly number[])[]): number {
    const at = now();
    lateness.begin();
    for (const [index, job] of jobs.entries()) job.told.resolve({ start: at / 1e6, times: times[index]! });
    return at;
  },
  said: (): Said[] => jobs.map(({ at, bytes, endedAt }) => ({ at, bytes, endedAt })),
  lateness: () => lateness.p95Ms,
});

async function open(address: string, flow: Flow, index: number, tls: Certificate | undefined): Promise<number> {
  const { follow, isIdle } = flow;
  const job = new Job(index, follow === "wait" && !isIdle);
  jobs[index] = job;
  const fast = { heartbeatMs: TIMING.heartbeatMs / FASTER, commentMs: TIMING.commentMs / FASTER };
  const service = studio((say) => job.work(say));
  const core = createCore([service], { store: memoryStore(), ...(isIdle && { timing: fast }) });
  await core.start();
  // Nobody but the server itself calls the job that publishes; the client reads the topic.
  if (follow === "topic") {
    const call = { to: "studio/develop", input: { publishes: true }, principal: ANONYMOUS, via: "memory" };
    void Promise.resolve(memoryPeer(core)(call)).then((exchange) => exchange.result());
  }
  return await listen(core, follow, address, tls);
}

async function listen(
  core: Core,
  follow: Flow["follow"],
  hostname: string,
  tls: Certificate | undefined,
): Promise<number> {
  const at = { hostname, port: 0, tls };
  if (follow === "tcp") return (await tcpListener(core, at)).port!;
  if (follow === "grpc") {
    const handlers = rpcHandlers(core, describeProto(core.contract));
    return (await grpcListener({ ...at, handlers, limits: core.limits, timing: core.timing })).port;
  }
  const { upgrade, websocket } = websocketHandler(core);
  type Data = NonNullable<typeof websocket.data>;
  const { listeners } = await serve<Data>({
    hostname,
    ...(tls ? { tls: { port: 0, ...tls } } : { port: 0 }),
    fetch: httpHandler<Bun.Server<Data>>(core, { websocket: upgrade }),
    websocket,
    limits: core.limits,
  });
  return listeners[0]!.port;
}
