/**
 * The Durable Streams protocol (https://github.com/durable-streams/durable-streams, PROTOCOL.md §10), so that its
 * clients read and write topics, and streams of their own where the server lets them make some. § in this folder
 * are those of that protocol.
 */
import { type Host, type Limits, type Principal, TOPICS } from "../contract/index.ts";
import type { Store } from "../log/index.ts";
import { callerOf } from "../net/caller.ts";
import type { HttpServer, Mount } from "../net/mount.ts";
import { hasEtag } from "../wire/etag.ts";
import { bodyOf, cacheControl, contentFields, etagOf, headFields, placeFields, SAFE, streamCursor } from "./answer.ts";
import { Live } from "./live.ts";
import { decodedName, nameIn, pathOf } from "./names.ts";
import { bad, notAllowed, Refusal, refused, unknownStream } from "./refusal.ts";
import * as ask from "./request.ts";
import type { Append, Chunk, Source } from "./source.ts";
import { type StreamAccess, Streams } from "./streams.ts";
import { TOPIC_ALLOW, TopicSource, TopicWriters } from "./topic.ts";

export type { StreamAccess, StreamVerb } from "./streams.ts";

export interface DurableStreamsOptions {
  /** The server's own store: created streams, and the numbers of producers. */
  readonly store: Store;
  /** Where streams are (default `/streams`). */
  readonly path?: string;
  /**
   * Whether clients may make streams (default false); with a function, who may do what with them. By default
   * a stream is its maker's alone.
   */
  readonly create?: boolean | StreamAccess;
  /** How long a long poll is held, in milliseconds (default 20 s); at most the limit `waitMs`. */
  readonly longPollMs?: number;
  /** How long one SSE response lasts, in milliseconds (default 60 s); then the client comes back. */
  readonly sseMs?: number;
  /** The listener's idle timeout in seconds (default 60). */
  readonly idleSeconds?: number;
}

export interface DurableStreams extends Mount {
  fetch(request: Request, server: HttpServer): Promise<Response>;
  /** Removes what has expired; to be called from time to time. */
  sweep(): Promise<void>;
}

const VIA = "durable-streams";
const WRITERS = 1_000;
const STREAM_ALLOW = "DELETE, GET, HEAD, POST, PUT";

export function durableStreams(host: Host, options: DurableStreamsOptions): DurableStreams {
  return new Facade(host, options);
}

class Facade implements DurableStreams {
  readonly cors = {
    methods: `${STREAM_ALLOW}, OPTIONS`,
    accepts:
      "producer-epoch, producer-id, producer-seq, stream-closed, stream-expires-at, stream-fork-offset, stream-fork-sub-offset, stream-forked-from, stream-seq, stream-ttl",
    exposes:
      "producer-epoch, producer-expected-seq, producer-received-seq, producer-seq, stream-closed, stream-cursor, stream-expires-at, stream-next-offset, stream-sse-data-encoding, stream-ttl, stream-up-to-date",
  };
  readonly #host: Host;
  readonly #limits: Limits;
  readonly #store: Store;
  readonly #prefix: string;
  readonly #live: Live;
  readonly #streams: Streams | undefined;
  readonly #writers = new Map<string, TopicWriters>();

  constructor(host: Host, options: DurableStreamsOptions) {
    const { store, path = "/streams", create = false, longPollMs = 20_000, sseMs = 60_000, idleSeconds = 60 } = options;
    this.#host = host;
    this.#limits = host.limits;
    this.#store = store;
    this.#prefix = `${path.replace(/\/+$/, "")}/`;
    this.#live = new Live(host, { longPollMs, sseMs, idleSeconds });
    const access = create === true ? OWN : create;
    this.#streams = access ? new Streams({ store, limits: host.limits, access, now: host.now }) : undefined;
  }

  matches(path: string): boolean {
    return path.startsWith(this.#prefix) && path.length > this.#prefix.length;
  }

  async sweep(): Promise<void> {
    await this.#streams?.sweep();
  }

  async fetch(request: Request, server: HttpServer): Promise<Response> {
    try {
      return await this.#answer(request, server);
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      this.#host.metrics.add("backtalk_faults_total", `code="${thrown.code}"`, 1);
      return refused(thrown);
    }
  }

  async #answer(request: Request, server: HttpServer): Promise<Response> {
    const caller = await callerOf(this.#host, request, server, VIA);
    const asking: ask.Asking = { request, ...caller };
    const { method } = request;
    const name = nameIn(request.url, this.#prefix);
    const isTopic = this.#host.contract.topics.has(name);
    switch (method) {
      case "GET":
      case "HEAD": {
        const source = await this.#source(name, asking, "read");
        return method === "HEAD" ? this.#head(source) : this.#read(source, asking, server);
      }
      case "POST":
        return this.#append(name, asking, server);
      case "PUT":
        return this.#create(name, asking, server);
      case "DELETE":
        if (isTopic) throw notAllowed("a topic of the server cannot be deleted", TOPIC_ALLOW);
        await this.#needStreams(name).delete(name, caller.principal);
        return new Response(null, { status: 204, headers: SAFE });
      default:
        throw notAllowed(`${method} is not possible here`, isTopic ? TOPIC_ALLOW : STREAM_ALLOW);
    }
  }

  // --- what is meant ---

  async #source(name: string, asking: ask.Asking, verb: "read" | "append"): Promise<Source> {
    if (this.#host.contract.topics.has(name)) return this.#topic(name, asking);
    const stream = await this.#needStreams(name).open(name, asking.principal, verb);
    stream.usedAt = asking.request.method === "HEAD" ? stream.usedAt : this.#host.now();
    return stream;
  }

  async #topic(name: string, asking: ask.Asking): Promise<Source> {
    const { principal, address, request } = asking;
    const call = { to: TOPICS + name, principal, address, counted: true, via: VIA, signal: request.signal };
    const exchange = await this.#host.peer(call);
    return new TopicSource(name, exchange, this.#writersOf(name, principal), this.#limits);
  }

  #writersOf(topic: string, principal: Principal): TopicWriters {
    const key = `${topic}/${principal.id}`;
    const writers = this.#writers.get(key) ?? new TopicWriters(this.#store, topic, principal);
    // The newest last; of many the oldest are forgotten, and read again when they are needed.
    this.#writers.delete(key);
    this.#writers.set(key, writers);
    for (const [oldest, { turns }] of this.#writers) {
      if (this.#writers.size <= WRITERS) break;
      if (turns.isIdle && oldest !== key) this.#writers.delete(oldest);
    }
    return writers;
  }

  #needStreams(name: string): Streams {
    if (this.#streams) return this.#streams;
    throw unknownStream(name);
  }

  // --- reading ---

  async #head(source: Source): Promise<Response> {
    const fields = headFields(source, await source.head());
    return new Response(null, { headers: { ...fields, "cache-control": "no-store" } });
  }

  async #read(source: Source, asking: ask.Asking, server: HttpServer): Promise<Response> {
    const wanted = ask.wantedOf(asking.request.url);
    const { offset, live } = wanted;
    if (live === "sse") {
      const done = reading(source, this.#host.now);
      try {
        return await this.#live.sse(source, asking, server, wanted, done);
      } catch (thrown) {
        done();
        throw thrown;
      }
    }
    if (live === "long-poll") return this.#longPoll(source, asking, server, wanted);
    const chunk = await this.#live.page(source, offset);
    const fields = { ...contentFields(source), ...placeFields(chunk) };
    if (offset === "now") {
      return new Response(bodyOf(source, chunk), { headers: { ...fields, "cache-control": "no-store" } });
    }
    return this.#cached(source, asking, offset, chunk, fields);
  }

  async #longPoll(source: Source, asking: ask.Asking, server: HttpServer, wanted: ask.Wanted): Promise<Response> {
    const done = reading(source, this.#host.now);
    let chunk: Chunk;
    try {
      chunk = await this.#live.longPoll(source, asking, server, wanted.offset);
    } finally {
      done();
    }
    const cursor = streamCursor(this.#host.now(), wanted.cursor, this.#host.random);
    const fields = { ...placeFields(chunk), "stream-cursor": cursor };
    if (chunk.items.length === 0) {
      return new Response(null, { status: 204, headers: { ...SAFE, ...fields, "cache-control": "no-store" } });
    }
    return this.#cached(source, asking, wanted.offset, chunk, { ...contentFields(source), ...fields });
  }

  #cached(
    source: Source,
    { request }: ask.Asking,
    offset: string,
    chunk: Chunk,
    fields: Record<string, string>,
  ): Response {
    const etag = etagOf(source, offset, chunk);
    const headers = {
      ...fields,
      etag: `"${etag}"`,
      "cache-control": cacheControl(this.#host.anonymous, !chunk.upToDate),
    };
    if (hasEtag(request.headers.get("if-none-match"), etag)) return new Response(null, { status: 304, headers });
    this.#host.metrics.add("backtalk_events_sent_total", `transport="${VIA}"`, chunk.items.length);
    return new Response(bodyOf(source, chunk), { headers });
  }

  // --- writing ---

  async #append(name: string, asking: ask.Asking, server: HttpServer): Promise<Response> {
    const { request } = asking;
    const { headers } = request;
    const body = await this.#body(request, server);
    const source = await this.#source(name, asking, "append");
    const close = ask.saysClosed(headers);
    const producer = ask.producerOf(headers);
    const append: Append = {
      body: body.length > 0 ? body : undefined,
      producer,
      seq: ask.seqOf(headers),
      close,
    };
    if (!append.body && !close) throw bad("the body is empty", "send what is to be appended, or Stream-Closed: true");
    const { closed } = await source.head();
    // §5.2: that a stream is closed is told before anything else is wrong.
    if (append.body && !closed) checkType(source, headers.get("content-type"));
    const appended = await source.append(append);
    if (!appended.duplicate) this.#host.metrics.add("backtalk_events_appended_total", "", 1);
    const isNew = producer !== undefined && !appended.duplicate && append.body !== undefined;
    return new Response(null, {
      status: isNew ? 200 : 204,
      headers: {
        ...SAFE,
        "stream-next-offset": appended.next,
        ...(appended.closed && { "stream-closed": "true" }),
        ...(producer && { "producer-epoch": String(producer.epoch) }),
        ...(appended.producerSeq !== undefined && { "producer-seq": String(appended.producerSeq) }),
      },
    });
  }

  async #create(name: string, asking: ask.Asking, server: HttpServer): Promise<Response> {
    const { request, principal } = asking;
    const { headers } = request;
    const body = await this.#body(request, server);
    const contentType = headers.get("content-type") ?? undefined;
    if (contentType !== undefined) ask.mediaType(contentType);
    const expiry = ask.expiryOf(headers);
    const fork = ask.forkOf(headers);
    const close = ask.saysClosed(headers);
    if (this.#host.contract.topics.has(name)) {
      const isSame = contentType === undefined || ask.mediaType(contentType) === "application/json";
      if (!isSame || close || fork || Object.keys(expiry).length > 0 || body.length > 0) throw isTopic(name);
      const source = await this.#topic(name, asking);
      return new Response(null, { headers: headFields(source, await source.head()) });
    }
    const streams = this.#needStreams(name);
    const { stream, isNew } = await streams.create(name, principal, {
      contentType,
      body,
      close,
      ...expiry,
      fork: fork && { ...fork, name: this.#forkName(fork.from) },
    });
    const fields = headFields(stream, await stream.head());
    const path = pathOf(name, this.#prefix);
    return new Response(null, {
      status: isNew ? 201 : 200,
      headers: { ...fields, ...(isNew && { location: new URL(path, request.url).href }) },
    });
  }

  /** §4.2: the path of the source on this server. */
  #forkName(path: string): string {
    if (!path.startsWith(this.#prefix)) throw unknownStream(path);
    const name = decodedName(path.slice(this.#prefix.length));
    if (this.#host.contract.topics.has(name)) throw new Refusal(409, "failed_precondition", "a topic cannot be forked");
    return name;
  }

  async #body(request: Request, server: HttpServer): Promise<Uint8Array> {
    const { bodyBytes, bodyMs } = this.#limits;
    server.timeout(request, Math.min(255, Math.ceil(bodyMs / 1000) + 1));
    return ask.readBody(request, bodyBytes, bodyMs);
  }
}

const OWN: StreamAccess = (principal, { owner }) => principal.id === owner;

/** @throws Refusal 400 without a type, 409 for another one */
function checkType(source: Source, contentType: string | null): void {
  if (contentType === null) throw bad("Content-Type is missing", `send Content-Type: ${source.contentType}`);
  if (ask.mediaType(contentType) === ask.mediaType(source.contentType)) return;
  throw new Refusal(409, "failed_precondition", `the stream is of ${source.contentType}`, {
    retryable: false,
    hint: `send Content-Type: ${source.contentType}`,
  });
}

function isTopic(name: string): Refusal {
  return new Refusal(409, "already_exists", `${name} is a topic of the server, of application/json`, {
    retryable: false,
    hint: "leave out content, closing and times of life, and append by POST",
  });
}

/** Says that a live reading goes on; what is returned, once, that it has ended. */
function reading(source: Source, now: () => number): () => void {
  if (!("readers" in source)) return () => {};
  const stream = source as Source & { readers: number; usedAt: number };
  let isOver = false;
  stream.readers++;
  return () => {
    if (isOver) return;
    isOver = true;
    stream.readers--;
    stream.usedAt = now();
  };
}
