/**
 * Messages that wait for another attempt, and those that were given up: each is a log
 * `webhooks-held/ENDPOINT/ID` with the message (`open`), its attempts (`progress`) and, when it was given up, `fail`.
 * One that was delivered is removed. What is sent is kept here, so it does not matter how long its source is.
 */
import { Fault, type LogInfo, type Store } from "../log/index.ts";
import type { Message } from "./message.ts";

export interface Attempt {
  /** How many there were; 0 for one that an operator sends again. */
  readonly attempt: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly nextAt?: number;
  readonly why: string;
  readonly status?: number;
}

/** In memory for each message that waits. */
export interface Waiting {
  readonly log: string;
  attempt: number;
  nextAt: number;
  isUnderWay: boolean;
}

/** As an operator sees it. */
export interface Letter extends Attempt {
  readonly id: string;
  readonly state: "waiting" | "dead";
}

export class Held {
  readonly #store: Store;
  readonly #prefix: string;

  constructor(store: Store, endpoint: string) {
    this.#store = store;
    this.#prefix = `webhooks-held/${endpoint}/`;
  }

  /** What an earlier process has left waiting. */
  async load(): Promise<Waiting[]> {
    const waiting: Waiting[] = [];
    let after: string | undefined;
    do {
      const page = await this.#store.list({
        prefix: this.#prefix,
        state: "open",
        limit: 500,
        ...(after !== undefined && { after }),
      });
      for (const info of page.logs) {
        const { attempt, nextAt = 0 } = attemptOf(info);
        waiting.push({ log: info.log, attempt, nextAt, isUnderWay: false });
      }
      after = page.next;
    } while (after !== undefined);
    return waiting;
  }

  /** Undefined when it is held already. */
  async hold(message: Message, attempt: Attempt, times = 1): Promise<Waiting | undefined> {
    const log = this.#prefix + message.id + (times > 1 ? `~${times}` : "");
    const drafts = [
      { kind: "open", json: JSON.stringify(message) },
      { kind: "progress", json: JSON.stringify(attempt) },
    ] as const;
    const { outcome } = await this.#store.append(log, drafts, { after: "absent", create: { kind: "webhook" } });
    if (outcome !== "appended") return undefined;
    return { log, attempt: attempt.attempt, nextAt: attempt.nextAt ?? 0, isUnderWay: false };
  }

  async failed({ log }: Waiting, attempt: Attempt): Promise<void> {
    await this.#store.append(log, [{ kind: "progress", json: JSON.stringify(attempt) }]);
  }

  async giveUp({ log }: Waiting, attempt: Attempt): Promise<void> {
    await this.#store.append(log, [{ kind: "fail", json: JSON.stringify(attempt) }]);
  }

  async delivered({ log }: Pick<Waiting, "log">): Promise<void> {
    await this.#store.trim(log, "all");
  }

  async message(log: string): Promise<Message> {
    for await (const page of this.#store.read(log, { from: "start", follow: false, pageEvents: 1 })) {
      return JSON.parse(page.events[0]!.json) as Message;
    }
    throw new Fault("not_found", "the message is gone");
  }

  async letters(state: "waiting" | "dead", after: string | undefined): Promise<{ letters: Letter[]; next?: string }> {
    const { logs, next } = await this.#store.list({
      prefix: this.#prefix,
      state: state === "dead" ? "fail" : "open",
      limit: 100,
      ...(after !== undefined && { after }),
    });
    const letters = logs.map((info) => ({ id: info.log.slice(this.#prefix.length), state, ...attemptOf(info) }));
    return { letters, ...(next !== undefined && { next }) };
  }

  /** One that was given up begins anew, under another log: a crash in between leaves one too many. Undefined when it is not there. */
  async revive(id: string, now: number): Promise<Waiting | undefined> {
    const { logs } = await this.#store.list({ prefix: this.#prefix + id, exact: true, state: "fail", limit: 1 });
    if (!logs[0]) return undefined;
    const message = await this.message(logs[0].log);
    const times = Number(/~(\d+)$/.exec(id)?.[1] ?? 1) + 1;
    const waiting = await this.hold(message, { attempt: 0, at: now, nextAt: now, why: "sent again" }, times);
    await this.#store.trim(logs[0].log, "all");
    return waiting;
  }

  /** Removes what was given up before a time. */
  async forget(before: number): Promise<void> {
    for (;;) {
      const query = { prefix: this.#prefix, state: "fail", changedBefore: before, limit: 100 } as const;
      const { logs } = await this.#store.list(query);
      for (const { log } of logs) await this.#store.trim(log, "all");
      if (logs.length < 100) return;
    }
  }
}

function attemptOf({ last, progress }: LogInfo): Attempt {
  const event = last?.kind === "fail" ? last : progress;
  return JSON.parse(event!.json) as Attempt;
}
