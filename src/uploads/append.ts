/** Bytes as they come, to the end of a file: never more of them in memory than one piece, hashed while it is written. */
import { type FileHandle, open } from "node:fs/promises";
import type { BodyReader } from "../net/body.ts";
import { Check, type Digest } from "./digest.ts";
import type { Claim, Entry } from "./entry.ts";
import { brokenOff, diskFault, wrongChecksum } from "./faults.ts";
import { MODE } from "./record.ts";

export type Source = BodyReader;

export interface Appending {
  readonly path: string;
  readonly source: Source | undefined;
  readonly claim: Claim;
  /** Kept whole, when it has this digest, or not at all. */
  readonly check: { readonly digest: Digest; readonly field: string } | undefined;
  /** Asked before each piece, with the new offset. @throws Fault when it must not grow so far */
  readonly grow: (offset: number) => void;
}

/**
 * Appends, and makes sure that it is on the disk. What came before a break is kept, also when this throws.
 * @throws Fault
 */
export async function append(entry: Entry, { path, source, claim, check, grow }: Appending): Promise<void> {
  if (!source) return;
  const sum = check && new Check(check.digest);
  const start = entry.offset;
  let at = start;
  let hashed = start;
  let file: FileHandle | undefined;
  const stop = () => void source.cancel().catch(() => {});
  claim.signal.addEventListener("abort", stop);
  try {
    file = await open(path, "r+", MODE);
    for (;;) {
      if (claim.signal.aborted) throw claim.signal.reason;
      const { done, value } = await source.read().catch((): never => {
        throw claim.signal.aborted ? claim.signal.reason : brokenOff();
      });
      if (claim.signal.aborted) throw claim.signal.reason;
      if (done) break;
      if (!value || value.length === 0) continue;
      grow(at + value.length);
      const written = writeAll(file, value, at);
      entry.hash?.update(value);
      sum?.update(value);
      hashed += value.length;
      await written;
      at = hashed;
      if (!sum) entry.offset = at;
    }
    if (sum && !sum.isRight()) throw wrongChecksum(check!.field);
    await file.datasync();
    entry.offset = at;
  } catch (thrown) {
    stop();
    if (hashed !== entry.offset) {
      // What could not be checked, or was written half, is as if it had never come.
      entry.hash = undefined;
      await file?.truncate(entry.offset).catch(() => {});
    }
    await file?.datasync().catch(() => {});
    throw diskFault(thrown);
  } finally {
    claim.signal.removeEventListener("abort", stop);
    await file?.close().catch(() => {});
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    if (bytesWritten === 0) throw Object.assign(new Error("nothing was written"), { code: "ENOSPC" });
    done += bytesWritten;
  }
}
