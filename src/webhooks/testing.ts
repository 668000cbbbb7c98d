/** For the tests of this folder: a server with webhooks, receivers, and a clock that is moved by hand. */
import { z } from "zod";
import { service, topic, unary } from "../contract/index.ts";
import { Fault, type Store } from "../log/index.ts";
import { startServer } from "../start.ts";
import { memoryStore } from "../stores/memory/store.ts";
import { webhooksConfig } from "./config.ts";
import type { Clock } from "./delivery.ts";
import { type WebhooksOptions, webhooksPart } from "./part.ts";

export const SECRET = `whsec_${Buffer.from("a secret of thirty-two bytes....").toString("base64")}`;
export const TOKEN = "the-token-of-the-operator";

export const DEMO = service("demo", {
  double: unary({ input: z.object({ n: z.number() }), output: z.object({ n: z.number() }) }, ({ n }) => ({ n: 2 * n })),
  fail: unary({ input: z.object({}), output: z.object({}) }, () => {
    throw new Fault("failed_precondition", "not today");
  }),
  text: unary({ input: z.object({ chars: z.number() }), output: z.string() }, ({ chars }) => "x".repeat(chars)),
  ticks: topic({ event: z.object({ n: z.number() }) }),
  other: topic({ event: z.object({ n: z.number() }) }),
});

export class HandClock implements Clock {
  #now = 1_800_000_000_000;
  readonly #sleeping = new Set<{ until: number; wake: () => void }>();

  readonly now = (): number => this.#now;

  readonly sleep = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) {
        resolve();
        return;
      }
      const sleeper = {
        until: this.#now + ms,
        wake: () => {
          this.#sleeping.delete(sleeper);
          signal.removeEventListener("abort", sleeper.wake);
          resolve();
        },
      };
      this.#sleeping.add(sleeper);
      signal.addEventListener("abort", sleeper.wake, { once: true });
    });

  pass(ms: number): void {
    this.#now += ms;
    for (const sleeper of [...this.#sleeping]) if (sleeper.until <= this.#now) sleeper.wake();
  }
}

export interface Got {
  readonly id: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly json: { readonly type: string; readonly timestamp: string; readonly data: Record<string, unknown> };
}

/** Answers as it is told, and remembers what it got. */
export class Receiver {
  readonly got: Got[] = [];
  answer: (got: Got) => Response | Promise<Response> = () => new Response();
  readonly #server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch: async (request) => {
      const body = await request.text();
      const headers = Object.fromEntries(request.headers);
      const got = { id: headers["webhook-id"]!, headers, body, json: JSON.parse(body) as Got["json"] };
      this.got.push(got);
      return this.answer(got);
    },
  });

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/hook?a=b`;
  }

  get port(): number {
    return this.#server.port!;
  }

  get ids(): string[] {
    return this.got.map(({ id }) => id);
  }

  async stop(): Promise<void> {
    await this.#server.stop(true);
  }
}

export interface Options extends Partial<Omit<WebhooksOptions, "config">> {
  readonly store?: Store;
  readonly endpoints: readonly Record<string, unknown>[];
  readonly limits?: Parameters<typeof startServer>[0]["limits"];
}

export async function serving({ store = memoryStore(), endpoints, limits, ...webhooks }: Options) {
  const filled = endpoints.map((endpoint) => ({ secrets: ["env:SECRET"], ...endpoint }));
  const config = webhooksConfig({ endpoints: filled, token: "env:TOKEN" }, (_, name) =>
    name === "TOKEN" ? TOKEN : SECRET,
  );
  const notes: string[] = [];
  const running = await startServer({
    services: [DEMO],
    store,
    hostname: "127.0.0.1",
    plain: { port: 0, isAsked: true },
    version: "0",
    drainMs: 100,
    ...(limits && { limits }),
    logger: { calls: "defects", call() {}, note: (level, message) => notes.push(`${level}: ${message}`) },
    parts: [webhooksPart({ config, allow: ["loopback"], ...webhooks })],
  });
  const { url } = running.listeners[0]!;
  const operator = async (method: string, path = "", token = TOKEN) => {
    const response = await fetch(`${url}/webhooks${path}`, { method, headers: { authorization: `Bearer ${token}` } });
    return { status: response.status, json: (await response.json()) as Record<string, unknown> };
  };
  return {
    running,
    store,
    url,
    notes,
    operator,
    /** A recorded call; gives its id. */
    call: async (method: string, input: unknown, key: string = crypto.randomUUID()) => {
      const headers = { "content-type": "application/json", "idempotency-key": key };
      const response = await fetch(`${url}/demo/${method}`, { method: "POST", body: JSON.stringify(input), headers });
      await response.text();
      return response.headers.get("location")!.slice("/calls/".length);
    },
    /** The id of the message about the end of this call. */
    message: async (id: string) => {
      const { cursor } = (await (await fetch(`${url}/calls/${id}`)).json()) as { cursor: string };
      return `msg_${id}_${cursor}`;
    },
    publish: async (topic: string, n: number) => {
      const body = JSON.stringify({ n });
      const response = await fetch(`${url}/topics/${topic}`, { method: "POST", body });
      return ((await response.json()) as { cursor: string }).cursor;
    },
    metric: (name: string) => {
      const line = running.core.metrics
        .text()
        .split("\n")
        .find((each) => each.startsWith(name));
      return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(" ") + 1));
    },
  };
}

export async function until(condition: () => boolean | Promise<boolean>, what = "the condition"): Promise<void> {
  const end = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what} did not become true`);
    await Bun.sleep(2);
  }
}
