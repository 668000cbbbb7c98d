/** The streams that clients have made: created, forked, found, expired and deleted. */
import type { Principal } from "../contract/index.ts";
import { Fault, type Labels, type LogInfo, type Store } from "../log/index.ts";
import { bytesJson, messagesOf, modeOf, prefixOf } from "./content.ts";
import { encodeOffset, newLogNumber, type Offset } from "./offset.ts";
import { Owned, type OwnedLimits } from "./owned.ts";
import { openDrafts, type StreamRecord } from "./record.ts";
import { bad, gone, Refusal, unknownStream } from "./refusal.ts";
import { type ForkWanted, mediaType } from "./request.ts";
import { Turns } from "./source.ts";
import { Stream, type StreamLimits } from "./stream.ts";
import { BYTES, type Create, forkPlace, isSame } from "./wanted.ts";

export interface StreamsLimits extends StreamLimits, OwnedLimits {}

/** What somebody wants to do with a stream that a client has made. */
export type StreamVerb = "create" | "read" | "append" | "delete";

/** Whether a principal may. `owner` is who has made the stream; of one that is to be made, who asks. */
export type StreamAccess = (
  principal: Principal,
  action: { readonly verb: StreamVerb; readonly name: string; readonly owner: string },
) => boolean | Promise<boolean>;

export interface StreamsOptions {
  readonly store: Store;
  readonly limits: StreamsLimits;
  readonly access: StreamAccess;
  readonly now: () => number;
}

const PREFIX = "streams/";
/** A log here says that the stream of this name was deleted and is kept for its forks (§4.2). */
const DELETED = "streams-deleted/";

export class Streams {
  readonly #options: StreamsOptions;
  readonly #startedAt: number;
  /** Loaded, by name; the oldest are forgotten when they are many. */
  readonly #loaded = new Map<string, Promise<Stream | undefined>>();
  readonly #deleted = new Set<string>();
  readonly #owned: Owned;
  /** Making and deleting are seldom: one at a time needs no thought about what happens between. */
  readonly #turns = new Turns();
  #counted: Promise<void> | undefined;
  #lastNumber = 0;

  constructor(options: StreamsOptions) {
    this.#options = options;
    this.#startedAt = options.now();
    this.#owned = new Owned(options.limits);
  }

  /**
   * The stream, which is used by this.
   * @throws Refusal 404 when there is none, or it is of somebody else; 410 when it is kept for its forks alone
   */
  async open(name: string, principal: Principal, verb: StreamVerb): Promise<Stream> {
    const stream = await this.find(name);
    if (!stream || !(await this.#may(principal, verb, name, stream))) throw unknownStream(name);
    if (this.#deleted.has(name)) throw gone(name);
    return stream;
  }

  /** The stream, also one that is kept for its forks; undefined when there is none. */
  async find(name: string): Promise<Stream | undefined> {
    await this.#count();
    const stream = await this.#load(name);
    if (!stream || !this.#isOver(stream)) return stream;
    await this.#turns.take(async () => {
      if ((await this.#load(name)) === stream && this.#isOver(stream)) await this.#remove(name, stream);
    });
    return this.#load(name);
  }

  /**
   * Makes a stream, or finds the one that is as it is wanted (§5.1).
   * @throws Refusal 409 when the name is taken by another one, 404 and 400 for a fork of nothing, 429
   */
  async create(name: string, principal: Principal, wanted: Create): Promise<{ stream: Stream; isNew: boolean }> {
    await this.find(name);
    return this.#turns.take(async () => {
      const there = await this.#load(name);
      if (there) {
        const isTheirs = await this.#may(principal, "read", name, there);
        if (!isTheirs || this.#deleted.has(name) || !isSame(there, wanted)) throw taken(name);
        return { stream: there, isNew: false };
      }
      const owner = principal.id;
      if (!(await this.#options.access(principal, { verb: "create", name, owner }))) {
        throw new Refusal(403, "permission_denied", "this caller may not create streams");
      }
      return { stream: await this.#create(name, principal, wanted), isNew: true };
    });
  }

  /** @throws Refusal 404, 410 */
  async delete(name: string, principal: Principal): Promise<void> {
    const stream = await this.open(name, principal, "delete");
    await this.#turns.take(async () => {
      if ((await this.#load(name)) !== stream) throw unknownStream(name);
      if (this.#deleted.has(name)) throw gone(name);
      await this.#remove(name, stream);
    });
  }

  /** Removes what has expired, and what was kept for forks that are gone. For a timer. */
  async sweep(): Promise<void> {
    await this.#count();
    const limited = await this.#list(PREFIX, { life: "limited" });
    for (const { log } of limited) await this.find(log.slice(PREFIX.length));
    await this.#turns.take(async () => {
      for (const name of [...this.#deleted]) await this.#release(name);
    });
  }

  // --- making ---

  async #create(name: string, principal: Principal, wanted: Create): Promise<Stream> {
    const { store, limits, now } = this.#options;
    const owner = principal.id;
    const source = wanted.fork && (await this.#source(wanted.fork, principal));
    const type = wanted.contentType ?? source?.stream.contentType ?? BYTES;
    if (source && mediaType(type) !== mediaType(source.stream.contentType)) {
      throw conflict("a fork has the content type of its source");
    }
    const mode = modeOf(mediaType(type));
    const items = source?.prefix === undefined ? [] : [source.prefix];
    if (wanted.body.length > 0) {
      const json = mode === "json" ? messagesOf(wanted.body, limits.jsonDepth) : bytesJson(wanted.body);
      if (json !== "[]" || mode !== "json") items.push(json);
    }
    const inherits = wanted.ttl === undefined && wanted.expiresAt === undefined && source !== undefined;
    const { ttl, expiresAt } = inherits ? source.stream.record : wanted;
    this.#lastNumber = newLogNumber(now(), Math.max(this.#lastNumber, source?.stream.record.number ?? 0));
    const record: StreamRecord = {
      type,
      number: this.#lastNumber,
      ...(owner !== "" && { owner }),
      ...(ttl !== undefined && { ttl }),
      ...(expiresAt !== undefined && { expiresAt }),
      ...(source && {
        fork: {
          from: wanted.fork!.name,
          offset: encodeOffset(source.asked),
          sub: wanted.fork!.sub,
          segments: source.stream.segmentsUpTo(source.at),
          inherits,
        },
      }),
    };
    const drafts = openDrafts(record, items, wanted.close);
    const bytes = drafts.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0);
    if (bytes > limits.streamBytes) throw tooLarge(limits.streamBytes);
    this.#owned.charge(owner, 1, bytes);
    try {
      const isLimited = ttl !== undefined || expiresAt !== undefined;
      const labels = {
        kind: "stream",
        owner,
        ...(wanted.fork && { from: wanted.fork.name }),
        ...(isLimited && { life: "limited" }),
      };
      const log = PREFIX + name;
      const { outcome } = await store.append(log, drafts, { after: "absent", create: labels });
      if (outcome !== "appended") throw new Fault("unavailable", "the stream was made by another process");
    } catch (thrown) {
      this.#owned.charge(owner, -1, -bytes);
      throw thrown;
    }
    this.#loaded.delete(name);
    return (await this.#load(name))!;
  }

  /** Where a fork begins. `prefix` is a part of an append, which the fork keeps itself. */
  async #source(
    fork: ForkWanted & { readonly name: string },
    principal: Principal,
  ): Promise<{ stream: Stream; asked: Offset; at: Offset; prefix?: string }> {
    const stream = await this.#load(fork.name);
    if (!stream || this.#isOver(stream) || !(await this.#may(principal, "read", fork.name, stream))) {
      throw unknownStream(fork.name);
    }
    if (this.#deleted.has(fork.name)) throw conflict("the source was deleted");
    const asked = forkPlace(stream, fork.offset ?? stream.next);
    if (fork.sub === 0) return { stream, asked, at: asked };
    const item = await stream.itemAfter(asked);
    const prefix = item && prefixOf(item.json, stream.mode, fork.sub);
    if (!item || !prefix) throw bad("Stream-Fork-Sub-Offset is beyond the append that follows the offset");
    return prefix.isAll ? { stream, asked, at: item.at } : { stream, asked, at: asked, prefix: prefix.json };
  }

  // --- the end ---

  /** Removes a stream, or marks it while it has forks. */
  async #remove(name: string, stream: Stream): Promise<void> {
    const { store } = this.#options;
    if (await this.#hasForks(name)) {
      this.#deleted.add(name);
      await store.append(DELETED + name, [], { create: { kind: "stream" } });
      return;
    }
    await store.trim(PREFIX + name, "all");
    this.#loaded.delete(name);
    this.#owned.charge(stream.record.owner ?? "", -1, -stream.bytes);
    if (this.#deleted.delete(name)) await store.trim(DELETED + name, "all");
    const from = stream.record.fork?.from;
    if (from !== undefined && this.#deleted.has(from)) await this.#release(from);
  }

  /** Of a stream that was deleted: its last fork may have gone. */
  async #release(name: string): Promise<void> {
    const stream = await this.#load(name);
    if (stream) {
      if (!(await this.#hasForks(name))) await this.#remove(name, stream);
      return;
    }
    this.#deleted.delete(name);
    await this.#options.store.trim(DELETED + name, "all");
  }

  async #hasForks(name: string): Promise<boolean> {
    const { logs } = await this.#options.store.list({ prefix: PREFIX, labels: { from: name }, limit: 1 });
    return logs.length > 0;
  }

  /** Whether its time of life has passed; a stream that is deleted already waits for its forks. */
  #isOver(stream: Stream): boolean {
    const { ttl, expiresAt } = stream.record;
    const now = this.#options.now();
    if (expiresAt !== undefined && now >= expiresAt) return true;
    return ttl !== undefined && stream.readers === 0 && now >= stream.usedAt + ttl * 1000;
  }

  // --- what is there ---

  #load(name: string): Promise<Stream | undefined> {
    const loaded = this.#loaded.get(name);
    if (loaded) return loaded;
    const loading = this.#read(name);
    this.#loaded.set(name, loading);
    const forget = () => {
      if (this.#loaded.get(name) === loading) this.#loaded.delete(name);
    };
    loading.then((stream) => stream ?? forget(), forget);
    for (const oldest of this.#loaded.keys()) {
      if (this.#loaded.size <= LOADED) break;
      void this.#forget(oldest);
    }
    return loading;
  }

  /** A stream with a TTL stays: when it was read last is known here alone. */
  async #forget(name: string): Promise<void> {
    const loading = this.#loaded.get(name);
    this.#loaded.delete(name);
    const stream = await loading?.catch(() => undefined);
    if (!stream || (stream.record.ttl === undefined && stream.readers === 0)) return;
    if (!this.#loaded.has(name)) this.#loaded.set(name, loading!);
  }

  async #read(name: string): Promise<Stream | undefined> {
    const { store, limits } = this.#options;
    const { logs } = await store.list({ prefix: PREFIX + name, exact: true, limit: 1 });
    const info = logs[0];
    if (!info) return undefined;
    const owner = info.labels["owner"] ?? "";
    const charge = (bytes: number) => this.#owned.charge(owner, 0, bytes);
    // After a restart nobody knows when it was read last: its time begins anew, so that none ends too early.
    return Stream.load(store, info, limits, charge, Math.max(info.changedAt, this.#startedAt));
  }

  async #may(principal: Principal, verb: StreamVerb, name: string, stream: Stream): Promise<boolean> {
    return this.#options.access(principal, { verb, name, owner: stream.record.owner ?? "" });
  }

  /** What an earlier process has left: once, before the first use. */
  #count(): Promise<void> {
    this.#counted ??= (async () => {
      for (const { log } of await this.#list(DELETED)) this.#deleted.add(log.slice(DELETED.length));
      for (const { labels, bytes } of await this.#list(PREFIX)) {
        this.#owned.add(labels["owner"] ?? "", 1, bytes);
      }
    })().catch((thrown) => {
      this.#counted = undefined;
      throw thrown;
    });
    return this.#counted;
  }

  async #list(prefix: string, labels?: Labels): Promise<LogInfo[]> {
    const found: LogInfo[] = [];
    let after: string | undefined;
    do {
      const query = { prefix, limit: LISTED, ...(labels && { labels }), ...(after !== undefined && { after }) };
      const page = await this.#options.store.list(query);
      // Without their newest events, which can be large: for that reason the pages are small too.
      for (const { last: _, progress: __, ...info } of page.logs) found.push(info);
      after = page.next;
    } while (after !== undefined);
    return found;
  }
}

const LOADED = 10_000;
const LISTED = 32;

function taken(name: string): Refusal {
  return new Refusal(409, "already_exists", `there is another stream ${name.slice(0, 128)} already`, {
    hint: "use another name, or ask for it as it was made: content type, time of life, open or closed",
  });
}

function conflict(message: string): Refusal {
  return new Refusal(409, "failed_precondition", message);
}

function tooLarge(most: number): Refusal {
  return new Refusal(413, "resource_exhausted", `a stream has at most ${most} bytes`, {
    limit: "streamBytes",
    retryable: false,
  });
}
