/** Clients of all flows in one process: each follows by the transport's client half, and notes when an event came. */
import { peerOf, type Via } from "../../../cli/connect.ts";
import { trustOf } from "../../../cli/trust.ts";
import { ANONYMOUS, type Peer } from "../../../src/contract/index.ts";
import type { Place } from "../../../src/log/index.ts";
import { httpPeer } from "../../../src/transports/http/client.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import { Lateness } from "./lateness.ts";
import { TlsRelay } from "./relay.ts";
import type { Made } from "./studio.ts";
import { type Flow, HELD_MS, markOf, POLL_MS, SHORT_HELD_MS } from "./ways.ts";

const now = monotonic(openLibc());
const lateness = new Lateness();
const HTTP = { protocol: "http1.1" } as const;

/** By the number of an event when the program had it, in nanoseconds. */
export type Came = readonly number[];

class Following {
  readonly came: number[] = [];
  readonly all = Promise.withResolvers<void>();
  readonly #flow: Flow;
  readonly #index: number;
  readonly #peer: Peer;
  readonly #url: string;
  readonly #stop = new AbortController();
  #count = 0;

  /** @param url of its server, as for HTTP */
  constructor(flow: Flow, index: number, url: string) {
    this.#flow = flow;
    this.#index = index;
    this.#url = url;
    this.#peer = peerFor(flow, url);
    // Whoever waits for it hears of it; nobody waits for those that stand idle.
    this.all.promise.catch(() => {});
    if (flow.events === 0) this.all.resolve();
  }

  /** Resolves when it is told of what happens from then on. */
  async begin(): Promise<void> {
    const { follow } = this.#flow;
    if (follow === "wait") {
      // The connection stands before: handshakes are no part of what an answer costs.
      await (await fetch(`${this.#url}/healthz`, HTTP)).bytes();
      this.#wait().catch((thrown) => this.#failed(thrown));
      return;
    }
    const isTopic = follow === "topic";
    const to = isTopic ? "topics/photos" : "studio/develop";
    const input = isTopic ? {} : { input: { publishes: false }, keep: true };
    const exchange = await this.#peer({ to, ...input, principal: ANONYMOUS, via: follow });
    const ready = Promise.withResolvers<void>();
    const read = async () => {
      const from: Place = isTopic ? "now" : "start";
      for await (const { events } of exchange.read({ from, follow: true, signal: this.#stop.signal })) {
        ready.resolve();
        for (const { kind, json } of events) {
          if (kind === "progress" || kind === "item") this.#took(JSON.parse(json) as Made);
        }
      }
    };
    read().catch((thrown) => {
      ready.reject(thrown);
      this.#failed(thrown);
    });
    await ready.promise;
  }

  stop(): void {
    this.#stop.abort();
  }

  async #wait(): Promise<void> {
    const call = { to: "studio/develop", input: { publishes: false }, principal: ANONYMOUS, via: "wait" };
    const exchange = await this.#peer({ ...call, signal: this.#stop.signal });
    const { photos } = (await exchange.result()) as { photos: readonly Made[] };
    for (const each of photos) this.#took(each);
  }

  #took({ photo, done }: Made): void {
    const n = done - 1;
    if (photo !== markOf(this.#index, n) || this.came[n] !== undefined) {
      this.#failed(new Error(`an event came that was not due: ${photo}`));
      return;
    }
    this.came[n] = now();
    if (++this.#count === this.#flow.events) this.all.resolve();
  }

  #failed(thrown: unknown): void {
    if (!this.#stop.signal.aborted) this.all.reject(thrown);
  }
}

let followings: Following[] = [];
let relay: TlsRelay | undefined;

serveProgram({
  async open(address: string, flows: readonly (Flow & { port: number })[], isTls: boolean): Promise<void> {
    const tls = isTls ? new TlsRelay(address) : undefined;
    relay = tls;
    followings = await Promise.all(
      flows.map(async (flow, index) => {
        const to = tls ? `127.0.0.1:${await tls.open(flow.port, alpnOf(flow))}` : `${address}:${flow.port}`;
        return new Following(flow, index, `http://${to}`);
      }),
    );
    await Promise.all(followings.map((each) => each.begin()));
    lateness.begin();
  },
  /** Resolves when each flow has had all of its events. */
  async all(): Promise<Came[]> {
    await Promise.all(followings.map((each) => each.all.promise));
    return followings.map(({ came }) => came);
  },
  lateness: () => lateness.p95Ms,
  keyLog: () => relay?.keyLog ?? [],
  stop(): void {
    for (const each of followings) each.stop();
  },
});

/** As the client by itself would offer it; what is no HTTP offers none. */
function alpnOf({ follow }: Flow): string | undefined {
  if (follow === "tcp") return undefined;
  return follow === "grpc" ? "h2" : "http/1.1";
}

function peerFor({ follow, isIdle }: Flow, url: string): Peer {
  if (follow === "websocket" || follow === "topic") return other(url, "websocket");
  if (follow === "grpc") return other(url, "grpc");
  if (follow === "tcp") return other(url.replace("http:", "tcp:"), "tcp");
  return httpPeer({
    url,
    mode: follow === "poll" || follow === "long-poll" ? follow : "sse",
    ...HTTP,
    waitMs: isIdle ? SHORT_HELD_MS : HELD_MS,
    // By itself the pause grows while nothing is new: here it stays, as theory has it.
    pause: (_, signal) => (follow === "poll" ? sleep(POLL_MS, signal) : Promise.resolve()),
  });
}

function other(url: string, via: Via): Peer {
  const trust = trustOf(url, { isInsecure: true });
  return peerOf(url, { via, trust, token: undefined, apiKey: undefined, trace: undefined }).peer;
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}
