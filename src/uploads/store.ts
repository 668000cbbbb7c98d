/**
 * The uploads of a server: a directory with two files for each, its bytes and its record. What is known of them
 * is in memory too, so one process serves a directory.
 */
import { mkdir, open, rename, rm } from "node:fs/promises";
import { keyedId, randomId } from "../contract/ids.ts";
import type { Limits } from "../contract/index.ts";
import { HEAD_BYTES, typeOf } from "../contract/media.ts";
import { append, type Source } from "./append.ts";
import { Check, type Digest } from "./digest.ts";
import { type Claim, Entry } from "./entry.ts";
import { diskFault, going, noSuchUpload, tooLarge, unfit, wrongChecksum, wrongLength } from "./faults.ts";
import { entriesIn } from "./load.ts";
import { takeDirectory } from "./lock.ts";
import { bytesPath, MODE, payerOf, recordPath, removeFiles, type UploadRecord, writeRecord } from "./record.ts";
import { Room } from "./room.ts";

export type NewUpload = Omit<UploadRecord, "id" | "createdAt" | "expiresAt">;

export interface AppendOptions {
  readonly claim: Claim;
  readonly check?: { readonly digest: Digest; readonly field: string } | undefined;
  /** Most bytes that it may have, besides those of the server: of the method that it is for. */
  readonly maxBytes?: number | undefined;
}

export class Uploads {
  readonly #directory: string;
  readonly #limits: Limits;
  readonly #now: () => number;
  readonly #room: Room;
  readonly #entries = new Map<string, Entry>();
  /** What is left of uploads whose call has ended, by who pays for them, the oldest first. */
  readonly #spent = new Map<string, Set<Entry>>();
  #loading: Promise<void> | undefined;
  #unlock: (() => void) | undefined;
  #isClosing = false;

  constructor(directory: string, limits: Limits, now: () => number) {
    this.#directory = directory;
    this.#limits = limits;
    this.#now = now;
    this.#room = new Room(limits);
  }

  /** Reads what an earlier process has left, once. @throws Fault when another process has the directory */
  ready(): Promise<void> {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  entries(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  /** The owner's own; what belongs to somebody else, or has expired, is not there. */
  get(id: string, owner: string): Entry | undefined {
    const entry = this.#entries.get(id);
    return entry && entry.record.owner === owner && !this.#isOver(entry) ? entry : undefined;
  }

  /** How long it is kept from now on, in milliseconds. */
  lifeMs({ record }: Entry): number {
    return Math.max(0, record.expiresAt - this.#now());
  }

  /** The name that a key gives: that of its call, but for its first letter. */
  static idOf(owner: string, what: string, key: string): string {
    return `u${keyedId(owner, what, key)}`;
  }

  /** @throws Fault when there is no room for it */
  async create(draft: NewUpload, id = `u${randomId()}`): Promise<Entry> {
    if (this.#isClosing) throw going();
    const now = this.#now();
    const entry = new Entry({ ...draft, id, createdAt: now, expiresAt: now + this.#limits.uploadMs });
    const { length = 0 } = draft;
    const payer = payerOf(draft);
    if (length > this.#limits.uploadBytes) throw tooLarge(this.#limits.uploadBytes, "the server takes no more");
    const freed = this.#freeName(id);
    this.#room.enter(payer);
    try {
      this.#room.take(payer, length);
    } catch (thrown) {
      this.#room.leave(payer, 0);
      throw thrown;
    }
    entry.reserved = length;
    this.#entries.set(id, entry);
    try {
      await freed;
      await entry.inOrder(async () => {
        if (!entry.isRemoved) await (await open(this.path(entry), "wx", MODE)).close();
      });
      await this.save(entry);
    } catch (thrown) {
      await this.remove(entry);
      throw diskFault(thrown);
    }
    return entry;
  }

  /** Appends a body at the end. A fault after which the upload is of no use has removed it. */
  async append(entry: Entry, source: Source | undefined, { claim, check, maxBytes }: AppendOptions): Promise<void> {
    const { record } = entry;
    // It went while this waited for its turn.
    if (entry.isRemoved) throw this.#isClosing ? going() : noSuchUpload();
    const most = Math.min(this.#limits.uploadBytes, maxBytes ?? Number.POSITIVE_INFINITY);
    if (check) {
      record.verifiedTo = entry.offset;
      await this.save(entry);
    }
    const grow = (offset: number): void => {
      if (record.length !== undefined && offset > record.length) {
        throw tooLarge(record.length, "so many were announced");
      }
      if (offset > most) throw tooLarge(most, "no more are taken");
      if (offset <= entry.reserved) return;
      this.#room.take(payerOf(record), offset - entry.reserved);
      entry.reserved = offset;
    };
    try {
      await append(entry, { path: this.path(entry), source, claim, check, grow });
    } catch (thrown) {
      const { code, limit } = thrown as { code?: string; limit?: string };
      const isHopeless = code === "resource_exhausted" || code === "internal" || limit === "uploadBytes";
      if (isHopeless || entry.isRemoved) await this.remove(entry);
      throw thrown;
    } finally {
      if (check && !entry.isRemoved) {
        delete record.verifiedTo;
        await this.save(entry);
      }
    }
  }

  /** @throws Fault when it was announced otherwise before, or is too large */
  async announce(entry: Entry, length: number): Promise<void> {
    const { record } = entry;
    if (record.length === length) return;
    if (record.length !== undefined) throw wrongLength(`was ${record.length} before`);
    if (length < entry.offset) throw wrongLength(`is less than the ${entry.offset} bytes that are there`);
    if (length > this.#limits.uploadBytes) {
      await this.remove(entry);
      throw tooLarge(this.#limits.uploadBytes, "the server takes no more");
    }
    const more = Math.max(0, length - entry.reserved);
    this.#room.take(payerOf(record), more);
    entry.reserved += more;
    record.length = length;
    await this.save(entry);
  }

  /**
   * All bytes are there: finds its type, and its hash. A file that is not what was said is removed.
   * @param check says what is wrong with it for what it is for
   * @throws Fault `invalid_argument`
   */
  async complete(entry: Entry, check: (found: { size: number; type: string }) => string | undefined): Promise<void> {
    const { record } = entry;
    if (entry.isComplete) return;
    try {
      const path = this.path(entry);
      const head = new Uint8Array(await Bun.file(path).slice(0, HEAD_BYTES).arrayBuffer());
      const type = typeOf(record.type, head);
      const member = record.target?.member ?? "";
      if (type === undefined) throw unfit(member, `is said to be ${record.type}, and does not begin like it`);
      const issue = check({ size: entry.offset, type });
      if (issue !== undefined) throw unfit(member, issue);
      if (record.digest) {
        const sum = new Check(record.digest);
        await eachPiece(path, (bytes) => sum.update(bytes));
        if (!sum.isRight()) throw wrongChecksum("Repr-Digest");
      }
      let { hash } = entry;
      if (!hash) {
        hash = new Bun.CryptoHasher("sha256");
        await eachPiece(path, (bytes) => void hash!.update(bytes));
      }
      entry.hash = undefined;
      record.sha256 = hash.digest("hex");
      record.type = type;
      record.length = entry.offset;
      this.#room.add(payerOf(record), entry.offset - entry.reserved);
      entry.reserved = entry.offset;
      record.completedAt = this.#now();
      await this.save(entry);
    } catch (thrown) {
      await this.remove(entry);
      throw diskFault(thrown);
    }
  }

  /** Another name, which must be free. */
  async renamed(entry: Entry, record: UploadRecord): Promise<Entry> {
    const from = entry.record.id;
    const other = new Entry(record);
    Object.assign(other, { offset: entry.offset, reserved: entry.reserved, hash: entry.hash });
    const freed = this.#freeName(record.id);
    this.#entries.delete(from);
    this.#entries.set(record.id, other);
    entry.isRemoved = true;
    const claim = await other.claim();
    try {
      await freed;
      // A record without bytes is removed after a crash, bytes without a record too.
      await this.save(other);
      await rename(bytesPath(this.#directory, from), bytesPath(this.#directory, record.id));
      await rm(recordPath(this.#directory, from), { force: true });
      return other;
    } catch (thrown) {
      await this.remove(other);
      await removeFiles(this.#directory, from);
      throw diskFault(thrown);
    } finally {
      claim.release();
    }
  }

  save(entry: Entry): Promise<void> {
    return entry.inOrder(async () => {
      if (!entry.isRemoved) await writeRecord(this.#directory, entry.record);
    });
  }

  /** A handler reads it: it stays until it is let go. */
  hold(entry: Entry): () => Promise<void> {
    entry.readers++;
    return async () => {
      entry.readers--;
      if (entry.isOver) await this.spend(entry);
    };
  }

  /** Its call has ended: the bytes go, what is known of it stays until it expires. */
  async spend(entry: Entry): Promise<void> {
    entry.isOver = true;
    if (entry.isRemoved || entry.readers > 0 || entry.record.spent !== undefined) return;
    // Nobody can ask again for what came in one request without a name.
    if (entry.record.isOneShot && !entry.record.isNamed) return this.remove(entry);
    entry.record.spent = entry.offset;
    await this.save(entry);
    await rm(this.path(entry), { force: true });
    // What is left is small, and must not keep its owner from the next one.
    this.#room.leave(payerOf(entry.record), entry.reserved);
    entry.reserved = 0;
    if (!entry.isRemoved) await this.#remember(entry);
  }

  /** As many of them as of others; then the oldest are forgotten, so that what is left of each does not add up. */
  async #remember(entry: Entry): Promise<void> {
    const payer = payerOf(entry.record);
    const spent = this.#spent.get(payer) ?? new Set();
    this.#spent.set(payer, spent.add(entry));
    for (const oldest of spent) {
      if (spent.size <= this.#limits.uploadsPerPrincipal) return;
      spent.delete(oldest);
      await this.remove(oldest);
    }
  }

  #forget(entry: Entry): void {
    const payer = payerOf(entry.record);
    const spent = this.#spent.get(payer);
    if (spent?.delete(entry) && spent.size === 0) this.#spent.delete(payer);
  }

  async remove(entry: Entry): Promise<void> {
    if (entry.isRemoved) return;
    entry.isRemoved = true;
    entry.interrupt();
    this.#entries.delete(entry.record.id);
    if (entry.record.spent === undefined) this.#room.leave(payerOf(entry.record), entry.reserved);
    this.#forget(entry);
    await entry.inOrder(() => removeFiles(this.#directory, entry.record.id));
  }

  path(entry: Entry): string {
    return bytesPath(this.#directory, entry.record.id);
  }

  /** Removes what has expired. */
  async sweep(): Promise<void> {
    for (const entry of this.entries()) if (this.#isOver(entry)) await this.remove(entry);
  }

  /** Saves what has come, and takes nothing more. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#loading?.catch(() => {});
    const entries = this.entries();
    const claims = await Promise.all(entries.map((entry) => entry.claim(going())));
    for (const entry of entries) if (entry.record.isOneShot && !entry.isComplete) await this.remove(entry);
    await Promise.all(entries.map((entry) => entry.inOrder(async () => {})));
    for (const claim of claims) claim.release();
    this.#unlock?.();
    this.#unlock = undefined;
  }

  /**
   * Of a key that was used before: that upload has expired, and was not swept away yet. Its room is free at once,
   * its files when this resolves.
   */
  #freeName(id: string): Promise<void> {
    const before = this.#entries.get(id);
    const freed = before ? this.remove(before) : Promise.resolve();
    // Whoever waits hears of it; who does not need the name any more need not.
    freed.catch(() => {});
    return freed;
  }

  #isOver({ record, readers }: Entry): boolean {
    return record.expiresAt <= this.#now() && readers === 0 && (record.calls?.length ?? 0) === 0;
  }

  async #load(): Promise<void> {
    // Made for its owner alone: what people send is their own.
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    this.#unlock = takeDirectory(this.#directory);
    for await (const entry of entriesIn(this.#directory)) {
      const { id, spent } = entry.record;
      this.#entries.set(id, entry);
      if (spent === undefined) this.#room.found(payerOf(entry.record), entry.reserved);
    }
    await this.sweep();
    const spent = this.entries().filter(({ record }) => record.spent !== undefined);
    for (const entry of spent.sort((a, b) => a.record.createdAt - b.record.createdAt)) await this.#remember(entry);
  }
}

async function eachPiece(path: string, then: (bytes: Uint8Array) => void): Promise<void> {
  for await (const bytes of Bun.file(path).stream()) then(bytes);
}
