/** What the tests of this folder kill and start again. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ANONYMOUS, type CallState, type Exchange } from "../../src/contract/index.ts";
import { type LogEvent, toFault } from "../../src/log/index.ts";
import { until } from "../transport/world.ts";
import type { TestBroker } from "./broker.ts";
import { peerOf, serverProcess } from "./server.ts";
import type { Spawned } from "./spawn.ts";
import { workerProcess } from "./worker.ts";

/** A server, its store and its workers, on names of their own. */
export class Site {
  readonly prefix = `s${crypto.randomUUID().slice(0, 8)}`;
  readonly home: string;
  readonly effects: string;
  readonly broker: TestBroker;
  readonly workers: Spawned[] = [];
  #server: Spawned | undefined;
  readonly #graceMs: number;
  port = 0;

  /** @param graceMs how long a worker that is gone may take to come back */
  constructor(broker: TestBroker, graceMs = 2_000) {
    this.#graceMs = graceMs;
    this.broker = broker;
    this.home = mkdtempSync(join(broker.folder, "site-"));
    this.effects = join(this.home, "effects");
    writeFileSync(this.effects, "");
  }

  async serve(): Promise<void> {
    const args = { url: this.broker.url, prefix: this.prefix, store: join(this.home, "store.sqlite"), port: this.port };
    const server = await serverProcess({ ...args, graceMs: this.#graceMs }, this);
    this.#server = server;
    this.port = server.port;
  }

  async work(concurrency = 4): Promise<void> {
    this.workers.push(await workerProcess({ url: this.broker.url, prefix: this.prefix, concurrency }, this));
  }

  async killServer(): Promise<void> {
    await this.#server?.kill();
  }

  open(to: string, input: unknown): Promise<Exchange> {
    return Promise.resolve(peerOf(this.port)({ to, input, keep: true, principal: ANONYMOUS, via: "test" }));
  }

  /** The end of a call, and its events, through any number of restarts. */
  async ended(exchange: Exchange): Promise<{ state: CallState; events: LogEvent[] }> {
    let state: CallState | undefined;
    await until(
      async () => {
        try {
          state = (await exchange.state()) as CallState;
          return state.state !== "running";
        } catch (thrown) {
          if (toFault(thrown).retryable) return false;
          throw thrown;
        }
      },
      `the end of ${exchange.id}`,
      50,
    );
    const events: LogEvent[] = [];
    for await (const page of exchange.read({ from: "start", follow: false })) events.push(...page.events);
    return { state: state!, events };
  }

  lines(): string[] {
    return readFileSync(this.effects, "utf8").split("\n").filter(Boolean);
  }

  count(line: string): number {
    return this.lines().filter((each) => each.startsWith(line)).length;
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.kill()));
    await this.killServer();
    rmSync(this.home, { recursive: true, force: true });
  }
}
