/** One topic on its way between the store and the exchange of topics: in, and out. */
import { type Host, type Principal, TOPICS } from "../../contract/index.ts";
import { type Cursor, type Draft, Fault, type Place, type Store, toFault } from "../../log/index.ts";
import type { Broker } from "./broker.ts";
import type { Message } from "./driver.ts";
import { backoff, pause } from "./line.ts";
import { HEADER, type Names } from "./names.ts";
import { jsonOf, keyOf, principalOf, textOf } from "./request.ts";

export interface TopicsOptions {
  readonly broker: Broker;
  readonly host: Host;
  readonly store: Store;
  readonly names: Names;
  /** The name of this server, which outlives its process. */
  readonly server: string;
  readonly topics: readonly string[];
  readonly trustUsers: boolean;
}

export interface Arrived {
  readonly message: Message;
  readonly settle: (isGood: boolean) => void;
}

/** Written before it is published, and again when it is known where it went: the mark by which it stays here. */
interface Begun {
  readonly key: string;
  readonly event: unknown;
  readonly principal: string;
}
type InRecord = Begun | { readonly done: string; readonly cursor?: Cursor };

interface Incoming extends Arrived {
  readonly key: string;
  readonly event: unknown;
  readonly principal: Principal;
}

export class Way {
  readonly #name: string;
  readonly #options: TopicsOptions;
  readonly #stop: AbortSignal;
  readonly #inLog: string;
  readonly #outLog: string;
  readonly #queue: Arrived[] = [];
  /** While messages are being taken in. */
  #taking: Promise<void> | undefined;
  /** Those that are being taken in now, or were last. */
  #batch: Promise<void> | undefined;
  /** Cursors of events that came from the broker and were not passed yet on the way out. */
  readonly #marks = new Set<Cursor>();
  #inHead: Cursor | undefined;
  #sending: Promise<void> | undefined;

  constructor(name: string, options: TopicsOptions, stop: AbortSignal) {
    this.#name = name;
    this.#options = options;
    this.#stop = stop;
    this.#inLog = `bridges/amqp/in/${name}`;
    this.#outLog = `bridges/amqp/out/${name}`;
  }

  async settled(): Promise<void> {
    await this.#taking;
    await this.#sending;
  }

  // --- in ---

  take(arrived: Arrived): void {
    this.#queue.push(arrived);
    this.#taking ??= this.#takeAll().finally(() => {
      this.#taking = undefined;
    });
  }

  /** What an earlier process has begun. */
  async recall(): Promise<void> {
    const { store } = this.#options;
    const begun = new Map<string, Begun>();
    let from: Place = "start";
    for (let more = true; more; ) {
      more = false;
      try {
        for await (const page of store.read(this.#inLog, { from, follow: false })) {
          for (const { json } of page.events) {
            const record = JSON.parse(json) as InRecord;
            if ("key" in record) begun.set(record.key, record);
            else {
              begun.delete(record.done);
              if (record.cursor !== undefined) this.#marks.add(record.cursor);
            }
          }
          from = page.cursor;
          this.#inHead = page.cursor;
          more = page.more;
        }
      } catch (thrown) {
        if (toFault(thrown).code !== "not_found") throw thrown;
      }
    }
    const settle = (): void => {};
    const again = [...begun.values()].map(({ key, event, principal }) => {
      return { key, event, principal: { id: principal }, settle, message: {} as Message };
    });
    if (again.length > 0) await this.#publish(again);
  }

  async #takeAll(): Promise<void> {
    // One turn later, so that what comes together is written together.
    await Promise.resolve();
    while (this.#queue.length > 0 && !this.#stop.aborted) {
      this.#batch = this.#takeBatch(this.#queue.splice(0));
      await this.#batch;
    }
  }

  async #takeBatch(batch: Arrived[]): Promise<void> {
    for (let tries = 0; !this.#stop.aborted; tries++) {
      try {
        const incoming = await this.#readAll(batch);
        if (incoming.length === 0) return;
        await this.#record(incoming.map(({ key, event, principal }) => ({ key, event, principal: principal.id })));
        await this.#publish(incoming);
        return;
      } catch (thrown) {
        // The store: nothing is acknowledged, and all of it is tried again.
        const { message } = toFault(thrown);
        if (tries === 0) {
          this.#options.broker.note("error", "events cannot be taken in", { topic: this.#name, error: message });
        }
        await pause(backoff(tries, this.#options.host.random), this.#stop);
      }
    }
  }

  /** Those that can be events; the others become dead letters. */
  async #readAll(batch: Arrived[]): Promise<Incoming[]> {
    const { host, trustUsers, broker } = this.#options;
    const incoming: Incoming[] = [];
    const kept: Arrived[] = [];
    for (const arrived of batch) {
      try {
        const { message } = arrived;
        const event = jsonOf(textOf(message, host));
        const principal = await principalOf(message, host, trustUsers);
        const key = keyOf(message) ?? `amqp/${crypto.randomUUID()}`;
        incoming.push({ ...arrived, key, event, principal });
        kept.push(arrived);
      } catch (thrown) {
        this.#refuse(arrived, thrown, broker);
      }
    }
    batch.splice(0, batch.length, ...kept);
    return incoming;
  }

  /** @throws Fault of the store: those that are published know it by their key */
  async #publish(incoming: readonly Incoming[]): Promise<void> {
    const { host, broker } = this.#options;
    const settled = await Promise.all(
      incoming.map(async ({ key, event, principal }) => {
        try {
          const exchange = await host.peer({ to: TOPICS + this.#name, principal, via: "amqp" });
          return { cursor: (await exchange.append({ items: [event], key })).cursor };
        } catch (thrown) {
          return { fault: toFault(thrown) };
        }
      }),
    );
    const retry = settled.find(({ fault }) => fault?.retryable);
    const done = incoming.flatMap(({ key }, i): InRecord[] => {
      const { cursor, fault } = settled[i]!;
      if (fault?.retryable) return [];
      if (cursor !== undefined) this.#marks.add(cursor);
      return [{ done: key, ...(cursor !== undefined && { cursor }) }];
    });
    if (retry) throw retry.fault;
    await this.#record(done);
    incoming.forEach((each, i) => {
      const { fault } = settled[i]!;
      if (fault) this.#refuse(each, fault, broker);
      else each.settle(true);
    });
    host.metrics.add("backtalk_amqp_messages_total", 'queue="topics"', incoming.length);
  }

  #refuse({ message, settle }: Arrived, thrown: unknown, broker: Broker): void {
    const fault = toFault(thrown);
    const id = message.messageId;
    broker.note("warn", "a message is no event, and is kept as a dead letter", {
      topic: this.#name,
      ...(id !== undefined && { id }),
      fault: fault.message,
    });
    settle(false);
  }

  async #record(records: readonly InRecord[]): Promise<void> {
    if (records.length === 0) return;
    const drafts = records.map((record): Draft => ({ kind: "item", json: JSON.stringify(record) }));
    const { cursor } = await this.#options.store.append(this.#inLog, drafts, { create: { kind: "bridge" } });
    this.#inHead = cursor;
  }

  // --- out ---

  /** Until the server goes. Never rejects. */
  send(): Promise<void> {
    this.#sending = this.#send();
    return this.#sending;
  }

  async #send(): Promise<void> {
    const { broker, store } = this.#options;
    while (!this.#stop.aborted) {
      try {
        let from = await this.#place();
        const at = { from, follow: true, signal: this.#stop };
        for await (const page of store.read(TOPICS + this.#name, at)) {
          const { verdict } = page;
          if (verdict && verdict.verdict !== "recovered") {
            broker.note("warn", "a bridge missed events of a topic", { topic: this.#name, verdict: verdict.verdict });
          }
          if (page.events.length > 0) {
            // What is being taken in may be among them: then it has its mark.
            await this.#batch;
            const own = page.events.filter(({ cursor }) => !this.#marks.has(cursor));
            if (!(await this.#pass(own))) return;
            await this.#moveOn(page.cursor);
          }
          from = page.cursor;
        }
      } catch (thrown) {
        if (this.#stop.aborted) return;
        broker.note("error", "a topic cannot be passed on", { topic: this.#name, error: toFault(thrown).message });
        await pause(1_000, this.#stop);
      }
    }
  }

  /** In their order; all of them again when some were not confirmed. False when the server goes before all were. */
  async #pass(events: readonly { readonly cursor: Cursor; readonly json: string }[]): Promise<boolean> {
    const { broker, names, server, host } = this.#options;
    if (events.length === 0) return true;
    for (let tries = 0; !this.#stop.aborted; tries++) {
      const sent = await Promise.allSettled(
        events.map(({ cursor, json }) =>
          broker.publish(
            {
              exchange: names.topics,
              routingKey: this.#name,
              type: "event",
              contentType: "application/json",
              messageId: cursor,
              headers: { [HEADER.origin]: server },
            },
            json,
          ),
        ),
      );
      if (sent.every(({ status }) => status === "fulfilled")) {
        host.metrics.add("backtalk_amqp_published_total", 'to="topics"', events.length);
        return true;
      }
      await pause(backoff(tries, host.random), this.#stop);
    }
    return false;
  }

  async #place(): Promise<Place> {
    const { store } = this.#options;
    const kept = (await store.list({ prefix: this.#outLog, exact: true, limit: 1 })).logs[0]?.last;
    if (kept) return JSON.parse(kept.json) as Cursor;
    const topic = (await store.list({ prefix: TOPICS + this.#name, exact: true, limit: 1 })).logs[0];
    if (!topic) throw new Fault("unavailable", `the topic ${this.#name} is not there yet`);
    // Written down at once: a restart before the first event must not move it.
    await this.#moveOn(topic.head);
    return topic.head;
  }

  async #moveOn(place: Cursor): Promise<void> {
    const { store } = this.#options;
    const draft = { kind: "item", json: JSON.stringify(place) } as const;
    const before = (await store.list({ prefix: this.#outLog, exact: true, limit: 1 })).logs[0]?.head;
    await store.append(this.#outLog, [draft], { create: { kind: "bridge" } });
    if (before !== undefined) await store.trim(this.#outLog, before);
    for (const mark of this.#marks) if (mark <= place) this.#marks.delete(mark);
    if (this.#marks.size === 0 && !this.#taking && this.#inHead !== undefined) {
      await store.trim(this.#inLog, this.#inHead);
      this.#inHead = undefined;
    }
  }
}
