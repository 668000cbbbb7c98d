/** Thousands of subscribers in a process of their own (load/readers.ts). */
import { join } from "node:path";
import type { Kind } from "../load/reader.ts";
import type { Opened, Order, Published } from "../load/readers.ts";
import { Child } from "./proc.ts";
import type { Server } from "./servers.ts";

const PROGRAM = join(import.meta.dir, "../load/readers.ts");
const MOST_MS = 60_000;

export interface OpenOptions {
  readonly after?: string;
  readonly events?: number;
  readonly atOnce?: number;
}

export class Readers {
  readonly #child = new Child([process.execPath, PROGRAM]);
  readonly kind: Kind;

  constructor(kind: Kind) {
    this.kind = kind;
  }

  open({ port }: Server, count: number, { after, events = 0, atOnce = 200 }: OpenOptions = {}): Promise<Opened> {
    return this.#ask({
      do: "open",
      kind: this.kind,
      port,
      count,
      events,
      atOnce,
      ...(after !== undefined && { after }),
    });
  }

  publish({ port }: Server, body: string, count: number, isOneByOne: boolean): Promise<Published> {
    return this.#ask({ do: "publish", port, path: PATHS[this.kind], body, count, isOneByOne });
  }

  /** The bytes of the newest event as the first reader got them, and where it began to read. */
  sample(): Promise<{ readonly sample: string; readonly place: string }> {
    return this.#ask({ do: "sample" });
  }

  /** Closes the connections; the process stays. */
  async close(): Promise<void> {
    await this.#ask({ do: "close" });
  }

  end(): Promise<void> {
    return this.#child.end();
  }

  async #ask<T>(order: Order): Promise<T> {
    const answer = await this.#child.ask<T & { error?: string }>(order, MOST_MS);
    if (answer.error !== undefined) throw new Error(`${this.kind}: ${answer.error}`);
    return answer;
  }
}

const PATHS: Readonly<Record<Kind, string>> = {
  websocket: "/topics/feed",
  sse: "/topics/feed",
  "bare-websocket": "/publish",
  "bare-sse": "/publish-sse",
  socketio: "/publish",
};
