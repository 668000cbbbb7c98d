/**
 * Who has written what to a stream: for idempotent producers (§5.2.1) their epoch and number, for `Stream-Seq`
 * (§5.2) the greatest text. Pure; where it is kept is `record` and `readRecord`.
 */
import { bad, Refusal } from "./refusal.ts";

export interface Producer {
  readonly id: string;
  /** Whole numbers up to 2^53 - 1. */
  readonly epoch: number;
  readonly seq: number;
}

export interface Written {
  readonly epoch: number;
  readonly seq: number;
}

export class Writers {
  readonly #producers = new Map<string, Written>();
  lastSeq: string | undefined;
  /** Deltas since the last record of everything. */
  #deltas = 0;
  /** Where that record is: the number of its event. */
  #fullAt = 0;

  get size(): number {
    return this.#producers.size;
  }

  of(id: string): Written | undefined {
    return this.#producers.get(id);
  }

  /**
   * Whether this is new or came before.
   * @throws Refusal 403 for an old epoch, 400 and 409 for a number that does not follow, 429 beyond `most` producers
   */
  check({ id, epoch, seq }: Producer, most: number): "new" | "duplicate" {
    const state = this.#producers.get(id);
    if (!state && this.#producers.size >= most) {
      throw new Refusal(429, "resource_exhausted", `the stream has ${most} producers already`, {
        limit: "producersPerStream",
        retryable: false,
        hint: "use a producer's id again, or raise the limit producersPerStream of the server",
      });
    }
    if (state && epoch < state.epoch) {
      const message = `the epoch ${epoch} of this producer is over: it is at ${state.epoch}`;
      throw new Refusal(403, "permission_denied", message, {}, { "producer-epoch": String(state.epoch) });
    }
    if (state && epoch > state.epoch && seq !== 0) throw bad("a new epoch of a producer begins with Producer-Seq: 0");
    const expected = state && epoch === state.epoch ? state.seq + 1 : 0;
    if (seq < expected) return "duplicate";
    if (seq === expected) return "new";
    throw new Refusal(
      409,
      "aborted",
      `Producer-Seq ${seq} does not follow: ${expected} is expected`,
      { detail: { expected } },
      { "producer-expected-seq": String(expected), "producer-received-seq": String(seq) },
    );
  }

  /** @throws Refusal 409 when it is not greater, byte by byte, than the one before */
  checkSeq(seq: string): void {
    if (this.lastSeq === undefined || isLess(this.lastSeq, seq)) return;
    throw new Refusal(409, "aborted", "Stream-Seq is not greater than the one before", {
      retryable: false,
      detail: { last: this.lastSeq },
    });
  }

  /**
   * What is written down of an append: what it changes, and everything once in a while, so that reading the
   * newest record and those after the last complete one is enough.
   * @param tail the number of the newest event with data, kept with it
   */
  record(producer: Producer | undefined, seq: string | undefined, tail: number): string {
    if (this.#fullAt > 0 && this.#deltas < DELTAS) {
      return JSON.stringify({
        tail,
        full: this.#fullAt,
        ...(producer && { p: row(producer) }),
        ...(seq !== undefined && { s: seq }),
      });
    }
    const rows = [...this.#producers].filter(([id]) => id !== producer?.id).map(([id, state]) => row({ id, ...state }));
    if (producer) rows.push(row(producer));
    const last = seq ?? this.lastSeq;
    return JSON.stringify({ tail, all: rows, ...(last !== undefined && { s: last }) });
  }

  /** After a record was stored, or is read again: `at` is the number of its event. */
  readRecord(json: string, at: number): void {
    const record = JSON.parse(json) as WritersRecord;
    if (record.all) {
      this.#producers.clear();
      for (const [id, epoch, seq] of record.all) this.#producers.set(id, { epoch, seq });
      this.#fullAt = at;
      this.#deltas = 0;
    } else if (record.p) {
      const [id, epoch, seq] = record.p;
      this.#producers.set(id, { epoch, seq });
    }
    if (record.full !== undefined) this.#deltas++;
    if (record.s !== undefined) this.lastSeq = record.s;
  }
}

/** Between two records of everything. */
const DELTAS = 256;

export interface WritersRecord {
  readonly tail: number;
  /** All producers; else `full` is the number of the event that has them. */
  readonly all?: readonly Row[];
  readonly full?: number;
  readonly p?: Row;
  readonly s?: string;
}

type Row = readonly [id: string, epoch: number, seq: number];

function row({ id, epoch, seq }: Producer): Row {
  return [id, epoch, seq];
}

/** Header fields are Latin-1 here: their characters are their bytes. */
function isLess(a: string, b: string): boolean {
  return a < b;
}
