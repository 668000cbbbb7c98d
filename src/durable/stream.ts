/**
 * One stream that a client has made, and its log `streams/NAME`: `open` with what the stream is, an `item` for
 * each append, `progress` with who has written what, in the same transaction as the item, and `end` once it is
 * closed. A fork has a log of its own and reads what it shares from those of its ancestors.
 */
import {
  type Cursor,
  type Draft,
  decodeCursor,
  encodeCursor,
  Fault,
  type LogInfo,
  PAGE_EVENTS,
  type Store,
} from "../log/index.ts";
import { bytesJson, type Mode, messagesOf, modeOf } from "./content.ts";
import { decodeOffset, encodeOffset, type Offset } from "./offset.ts";
import { type EndRecord, itemsOf, onePage, type Segment, type StreamRecord, tailOf } from "./record.ts";
import { bad, closed, lost, Refusal } from "./refusal.ts";
import { mediaType } from "./request.ts";
import { type Append, type Appended, type Chunk, type Head, type Reading, type Source, Turns } from "./source.ts";
import { Writers, type WritersRecord } from "./writers.ts";

export interface StreamLimits {
  readonly streamBytes: number;
  readonly producersPerStream: number;
  readonly jsonDepth: number;
}

/** Told of bytes before they are stored, so that the owner's limit is kept; they are given back when that fails. */
export type Charge = (bytes: number) => void;

export class Stream implements Source {
  readonly record: StreamRecord;
  readonly contentType: string;
  readonly mode: Mode;
  readonly isBatched: boolean;
  readonly tag: string;
  readonly #store: Store;
  readonly #log: string;
  readonly #epoch: string;
  readonly #limits: StreamLimits;
  readonly #charge: Charge;
  readonly #writers = new Writers();
  readonly #turns = new Turns();
  #head: Cursor;
  #bytes: number;
  /** The number of the newest item, 0 without one. */
  #tail: number;
  #closed: EndRecord | undefined;
  /** Live readings under way: they keep a stream with a TTL alive. */
  readers = 0;
  /** When it was last read or written, in milliseconds since 1970. */
  usedAt: number;

  private constructor(
    store: Store,
    info: LogInfo,
    record: StreamRecord,
    limits: StreamLimits,
    charge: Charge,
    usedAt: number,
  ) {
    this.#store = store;
    this.#log = info.log;
    this.#epoch = decodeCursor(info.head).epoch;
    this.#limits = limits;
    this.#charge = charge;
    this.record = record;
    this.contentType = record.type;
    this.mode = modeOf(mediaType(record.type));
    this.isBatched = this.mode === "json";
    this.tag = String(record.number);
    this.usedAt = usedAt;
    this.#head = info.head;
    this.#bytes = info.bytes;
    this.#tail = tailOf(info);
    this.#closed = info.last?.kind === "end" ? (JSON.parse(info.last.json) as EndRecord) : undefined;
  }

  /** What the log says. Reads its first event and, of those who have written, the newest. */
  static async load(store: Store, info: LogInfo, limits: StreamLimits, charge: Charge, now: number): Promise<Stream> {
    const first = await onePage(store, info.log, "start", 1);
    const record = JSON.parse(first.events[0]!.json) as StreamRecord;
    const stream = new Stream(store, info, record, limits, charge, now);
    if (info.progress) await stream.#loadWriters(info.progress.cursor, info.progress.json);
    return stream;
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get next(): string {
    if (this.#tail > 0) return encodeOffset({ log: this.record.number, seq: this.#tail });
    const last = this.record.fork?.segments.at(-1);
    return encodeOffset(last ? { log: last.number, seq: last.upTo } : { log: this.record.number, seq: 0 });
  }

  async head(): Promise<Head> {
    return { next: this.next, closed: this.isClosed, expiry: this.record };
  }

  // --- writing ---

  async append(append: Append): Promise<Appended> {
    const { body, producer, seq, close } = append;
    if (this.#closed) return this.#afterEnd(append);
    const json = body && this.#jsonOf(body);
    if (producer || seq !== undefined || close) return this.#turns.take(() => this.#guarded(json, append));
    const bytes = Buffer.byteLength(json!);
    this.#room(bytes);
    const { outcome, cursor } = await this.#write([{ kind: "item", json: json! }], bytes, undefined);
    if (outcome === "appended") {
      this.#stored(cursor, bytes, decodeCursor(cursor).seq);
      return {
        next: encodeOffset({ log: this.record.number, seq: decodeCursor(cursor).seq }),
        closed: false,
        duplicate: false,
      };
    }
    await this.#refresh();
    return this.#afterEnd(append);
  }

  /** In one transaction: the data, who has written it, and the end. */
  async #guarded(json: string | undefined, append: Append): Promise<Appended> {
    const { producer, seq, close } = append;
    for (;;) {
      if (this.#closed) return this.#afterEnd(append);
      if (producer && this.#writers.check(producer, this.#limits.producersPerStream) === "duplicate") {
        return { next: this.next, closed: false, duplicate: true, producerSeq: this.#writers.of(producer.id)!.seq };
      }
      if (seq !== undefined) this.#writers.checkSeq(seq);
      const at = decodeCursor(this.#head).seq;
      const tail = json === undefined ? this.#tail : at + 1;
      const drafts: Draft[] = [];
      if (json !== undefined) drafts.push({ kind: "item", json });
      const record = producer || seq !== undefined ? this.#writers.record(producer, seq, tail) : undefined;
      if (record !== undefined) drafts.push({ kind: "progress", json: record });
      const recordAt = at + drafts.length;
      const end: EndRecord = { tail, ...(producer && { p: [producer.id, producer.epoch, producer.seq] }) };
      if (close) drafts.push({ kind: "end", json: JSON.stringify(end) });
      const bytes = drafts.reduce((sum, draft) => sum + Buffer.byteLength(draft.json), 0);
      if (json !== undefined) this.#room(bytes);
      const { outcome, cursor } = await this.#write(drafts, bytes, this.#head);
      if (outcome !== "appended") {
        // Appends without a number do not wait for this turn.
        await this.#refresh();
        continue;
      }
      this.#stored(cursor, bytes, tail);
      if (record !== undefined) this.#writers.readRecord(record, recordAt);
      if (close) this.#closed = end;
      return { next: this.next, closed: close, duplicate: false, ...(producer && { producerSeq: producer.seq }) };
    }
  }

  /** §5.2: closing again is harmless, and so is the producer's request that has closed it. */
  #afterEnd({ body, producer, close }: Append): Appended {
    const [id, epoch, seq] = this.#closed!.p ?? [];
    const isSame = producer !== undefined && producer.id === id && producer.epoch === epoch && producer.seq === seq;
    if (isSame) return { next: this.next, closed: true, duplicate: true, producerSeq: producer.seq };
    if (close && !body && !producer) return { next: this.next, closed: true, duplicate: true };
    throw closed(this.next);
  }

  #jsonOf(body: Uint8Array): string {
    if (this.mode !== "json") return bytesJson(body);
    const json = messagesOf(body, this.#limits.jsonDepth);
    if (json === "[]") throw bad("there is no message in the body", "an empty array appends nothing");
    return json;
  }

  #room(bytes: number): void {
    if (this.#bytes + bytes <= this.#limits.streamBytes) return;
    throw new Refusal(413, "resource_exhausted", `the stream would have more than ${this.#limits.streamBytes} bytes`, {
      limit: "streamBytes",
      retryable: false,
      hint: "go on in another stream, or raise the limit streamBytes of the server",
    });
  }

  async #write(drafts: readonly Draft[], bytes: number, after: Cursor | undefined) {
    this.#charge(bytes);
    try {
      const appended = await this.#store.append(this.#log, drafts, after === undefined ? {} : { after });
      if (appended.outcome !== "appended") this.#charge(-bytes);
      return appended;
    } catch (thrown) {
      this.#charge(-bytes);
      throw thrown;
    }
  }

  /** Appends of one log can be heard of in another order than they were stored in. */
  #stored(cursor: Cursor, bytes: number, tail: number): void {
    this.#bytes += bytes;
    this.#tail = Math.max(this.#tail, tail);
    if (decodeCursor(cursor).seq > decodeCursor(this.#head).seq) this.#head = cursor;
  }

  async #refresh(): Promise<void> {
    const { logs } = await this.#store.list({ prefix: this.#log, exact: true, limit: 1 });
    const info = logs[0];
    if (!info) throw new Fault("not_found", "the stream was deleted");
    this.#head = info.head;
    this.#tail = Math.max(this.#tail, tailOf(info));
    if (info.last?.kind === "end") this.#closed = JSON.parse(info.last.json) as EndRecord;
    if (info.progress) await this.#loadWriters(info.progress.cursor, info.progress.json);
  }

  async #loadWriters(at: Cursor, json: string): Promise<void> {
    const { full } = JSON.parse(json) as WritersRecord;
    const { seq } = decodeCursor(at);
    if (full === undefined) {
      this.#writers.readRecord(json, seq);
      return;
    }
    let from = encodeCursor(this.#epoch, full - 1);
    for (let more = true; more; ) {
      const page = await onePage(this.#store, this.#log, from, PAGE_EVENTS);
      for (const event of page.events) {
        if (event.kind === "progress") this.#writers.readRecord(event.json, decodeCursor(event.cursor).seq);
      }
      from = page.cursor;
      more = page.more;
    }
  }

  // --- reading ---

  /** The logs that this stream is made of, its own last. */
  get #segments(): readonly Segment[] {
    const own = { log: this.#log, epoch: this.#epoch, number: this.record.number, upTo: Number.POSITIVE_INFINITY };
    return [...(this.record.fork?.segments ?? []), own];
  }

  async *read(offset: string, { follow, signal, bytes }: Reading): AsyncGenerator<Chunk> {
    const segments = this.#segments;
    let place = this.placeOf(offset === "now" ? this.next : offset);
    const index = segments.findIndex(({ number }) => number === place.log);
    for (const [i, segment] of segments.entries()) {
      if (i < index) continue;
      const isOwn = i === segments.length - 1;
      if (i > index && !isOwn) place = { log: segment.number, seq: 0 };
      let seq = i === index ? place.seq : 0;
      if (seq >= segment.upTo) continue;
      const from = encodeCursor(segment.epoch, seq);
      const at = { from, follow: follow && isOwn, pageBytes: bytes, ...(signal && { signal }) };
      for (let more = true; more; ) {
        more = false;
        for await (const page of this.#store.read(segment.log, { ...at, from: encodeCursor(segment.epoch, seq) })) {
          // The log is another one: the stream was deleted and made anew meanwhile.
          if (page.verdict && page.verdict.verdict !== "recovered") throw lost(offset);
          const items = itemsOf(page, segment.upTo);
          const last = items.at(-1);
          if (last) place = { log: segment.number, seq: decodeCursor(last.cursor).seq };
          const isPast = decodeCursor(page.cursor).seq >= segment.upTo;
          const upToDate = isOwn && !page.more;
          seq = decodeCursor(page.cursor).seq;
          more = page.more && !isPast && !at.follow;
          if (items.length > 0 || upToDate) {
            const next = encodeOffset(place);
            yield { items: items.map(({ json }) => json), next, upToDate, closed: page.ended && isOwn };
          }
        }
      }
    }
  }

  /**
   * Where an offset is in the logs of this stream.
   * @throws Refusal 410 when it is of a stream that was here before, 400 for anything else
   */
  placeOf(offset: string): Offset {
    const segments = this.#segments;
    if (offset === "-1") return { log: segments[0]!.number, seq: 0 };
    const place = decodeOffset(offset);
    if (!place) throw bad("not an offset of this stream", "take it from Stream-Next-Offset as it is, or use -1 or now");
    if (place.log === 0 && place.seq === 0) return { log: segments[0]!.number, seq: 0 };
    const segment = segments.find(({ number }) => number === place.log);
    if (!segment && place.log < this.record.number) throw lost(offset);
    const end = segment && (segment.log === this.#log ? this.#tail : segment.upTo);
    if (end === undefined || place.seq > end) throw bad("the offset is beyond the end of the stream");
    return place;
  }

  /** What a fork at an offset shares. */
  segmentsUpTo(place: Offset): Segment[] {
    const shared: Segment[] = [];
    for (const segment of this.#segments) {
      if (segment.number !== place.log) {
        shared.push(segment);
        continue;
      }
      shared.push({ ...segment, upTo: place.seq });
      break;
    }
    return shared;
  }

  /** The first append after a place. */
  async itemAfter(place: Offset): Promise<{ readonly json: string; readonly at: Offset } | undefined> {
    for await (const chunk of this.read(encodeOffset(place), { follow: false, signal: undefined, bytes: 1 })) {
      const json = chunk.items[0];
      if (json !== undefined) return { json, at: decodeOffset(chunk.next)! };
    }
    return undefined;
  }
}
