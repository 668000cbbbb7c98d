/** A topic of the contract, by Durable Streams: its offsets are its cursors, and its policy is the peer's. */
import type { Exchange, Principal } from "../contract/index.ts";
import { type Cursor, decodeCursor, Fault, type Page, type Place, parsePlace, type Store } from "../log/index.ts";
import { messagesOf } from "./content.ts";
import { bad, lost, notAllowed } from "./refusal.ts";
import { type Append, type Appended, type Chunk, type Head, type Reading, type Source, Turns } from "./source.ts";
import { Writers } from "./writers.ts";

export const TOPIC_ALLOW = "GET, HEAD, POST, PUT";

/**
 * What one principal has written to a topic by Durable Streams, in a log of its own,
 * `streams-writers/TOPIC/PRINCIPAL`: so nobody can take away another's producers, or use up the limit of them.
 */
export class TopicWriters {
  readonly turns = new Turns();
  readonly #store: Store;
  readonly #log: string;
  #writers: Writers | undefined;

  constructor(store: Store, topic: string, principal: Principal) {
    this.#store = store;
    this.#log = `streams-writers/${topic}/${principal.id}`;
  }

  async load(): Promise<Writers> {
    if (this.#writers) return this.#writers;
    const writers = new Writers();
    await this.#store.append(this.#log, [], { create: { kind: "writers" } });
    for (let from: Place = "start", more = true; more; ) {
      for await (const page of this.#store.read(this.#log, { from, follow: false })) {
        for (const { json, cursor } of page.events) writers.readRecord(json, decodeCursor(cursor).seq);
        from = page.cursor;
        more = page.more;
      }
    }
    this.#writers = writers;
    return writers;
  }

  /** After the event is stored: a crash between the two is made good by the event's key. */
  async record(json: string): Promise<void> {
    const { cursor } = await this.#store.append(this.#log, [{ kind: "progress", json }]);
    this.#writers!.readRecord(json, decodeCursor(cursor).seq);
    // A record of everything makes those before it useless.
    if ("all" in (JSON.parse(json) as object)) await this.#trimBefore(cursor);
  }

  async #trimBefore(cursor: Cursor): Promise<void> {
    const { logs } = await this.#store.list({ prefix: this.#log, exact: true, limit: 1 });
    const info = logs[0];
    if (!info || decodeCursor(info.first).seq >= decodeCursor(cursor).seq - 1) return;
    for await (const page of this.#store.read(this.#log, { from: info.first, follow: false, pageEvents: 1000 })) {
      const before = page.events.findLast((event) => event.cursor < cursor);
      if (before) await this.#store.trim(this.#log, before.cursor);
      return;
    }
  }
}

export class TopicSource implements Source {
  readonly contentType = "application/json";
  readonly mode = "json";
  readonly isBatched = false;
  readonly tag: string;
  readonly #exchange: Exchange;
  readonly #writers: TopicWriters;
  readonly #limits: { readonly producersPerStream: number; readonly jsonDepth: number };

  constructor(
    name: string,
    exchange: Exchange,
    writers: TopicWriters,
    limits: { readonly producersPerStream: number; readonly jsonDepth: number },
  ) {
    this.tag = name;
    this.#exchange = exchange;
    this.#writers = writers;
    this.#limits = limits;
  }

  async head(): Promise<Head> {
    const { cursor } = await this.#exchange.state();
    return { next: cursor, closed: false, expiry: {} };
  }

  async *read(offset: string, { follow, signal, bytes }: Reading): AsyncGenerator<Chunk> {
    const from: Place = offset === "-1" ? "start" : placeOf(offset);
    const at = { from, follow, pageBytes: bytes, ...(signal && { signal }) };
    for await (const page of this.#exchange.read(at)) {
      const verdict = page.verdict?.verdict;
      // From the beginning is from the first that is kept.
      if (verdict !== undefined && verdict !== "recovered" && from !== "start") throw lost(offset);
      yield chunkOf(page);
    }
  }

  async append({ body, producer, seq, close }: Append): Promise<Appended> {
    if (close || !body) throw notAllowed("a topic has no end, so it cannot be closed", TOPIC_ALLOW);
    const messages = messagesOf(body, this.#limits.jsonDepth);
    const items = JSON.parse(messages) as unknown[];
    if (items.length === 0) throw bad("there is no message in the body", "an empty array appends nothing");
    if (!producer && seq === undefined) {
      const { cursor } = await this.#exchange.append({ items });
      return { next: cursor, closed: false, duplicate: false };
    }
    return this.#writers.turns.take(async () => {
      const writers = await this.#writers.load();
      if (producer && writers.check(producer, this.#limits.producersPerStream) === "duplicate") {
        const { next } = await this.head();
        return { next, closed: false, duplicate: true, producerSeq: writers.of(producer.id)!.seq };
      }
      if (seq !== undefined) writers.checkSeq(seq);
      const cursor = await this.#publish(
        items,
        producer && `producer/${producer.id}/${producer.epoch}/${producer.seq}`,
      );
      await this.#writers.record(writers.record(producer, seq, 0));
      return { next: cursor, closed: false, duplicate: false, ...(producer && { producerSeq: producer.seq }) };
    });
  }

  async #publish(items: readonly unknown[], key: string | undefined): Promise<string> {
    try {
      return (await this.#exchange.append({ items, ...(key !== undefined && { key }) })).cursor;
    } catch (thrown) {
      // Stored before a crash, with another body: the number counts, as for any duplicate.
      const isStored = thrown instanceof Fault && thrown.detail?.["key"] === "reused";
      if (!isStored) throw thrown;
      return (await this.head()).next;
    }
  }
}

function placeOf(offset: string): Place {
  try {
    if (offset !== "start") return parsePlace(offset);
  } catch {
    // Told below.
  }
  throw bad("not an offset of this topic", "take it from Stream-Next-Offset as it is, or use -1 or now");
}

function chunkOf(page: Page): Chunk {
  return {
    items: page.events.map(({ json }) => json),
    next: page.cursor,
    upToDate: !page.more,
    closed: page.ended,
  };
}
