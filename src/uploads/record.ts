/** What is kept of an upload beside its bytes: a file `ID.json` next to `ID.bin`, written whole or not at all. */
import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";

export interface UploadRecord {
  readonly id: string;
  readonly owner: string;
  /** Of the anonymous: the address that it counts for. */
  readonly sender?: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Bytes that were announced. */
  length?: number;
  /** As declared; when it is complete, as found. */
  type?: string;
  readonly name?: string;
  /** `Upload-Metadata` and `Upload-Concat` of tus, as they came. */
  readonly metadata?: string;
  readonly concat?: string;
  /** Made by tus: it is complete as soon as its offset is its length. */
  readonly isTus?: boolean;
  /** The call that it is for. */
  readonly target?: UploadTarget;
  /** It came in one request with its call: what breaks off is of no use to anybody. */
  isOneShot?: boolean;
  /** Its key is the caller's own: the same request may come again, and is answered as before. */
  readonly isNamed?: boolean;
  /** `Repr-Digest`: the SHA-256 or SHA-512 that it must have, in base64. */
  readonly digest?: { readonly algorithm: "sha256" | "sha512"; readonly base64: string };
  /** Bytes before an append that is kept whole or not at all, while it is under way. */
  verifiedTo?: number;
  completedAt?: number;
  sha256?: string;
  /** The id of the call that it has started. */
  call?: string;
  /** Calls that were given it, and have not ended as far as is known. */
  calls?: readonly string[];
  /** Its call has ended, and its bytes are gone; so many there were. */
  spent?: number;
}

export interface UploadTarget {
  /** `service/method` */
  readonly method: string;
  /** Of the input; "" for the whole of it. */
  readonly member: string;
  /** The rest of the input. */
  readonly input?: unknown;
  /** Idempotency key of the call: it is started once. */
  readonly key: string;
}

/** Whose quota it counts for: the owner's, and of the anonymous that of their address. */
export const payerOf = ({ owner, sender = "" }: Pick<UploadRecord, "owner" | "sender">): string =>
  owner === "" ? `@${sender}` : `=${owner}`;

export const bytesPath = (directory: string, id: string): string => join(directory, `${id}.bin`);
export const recordPath = (directory: string, id: string): string => join(directory, `${id}.json`);

/** Files are their owner's alone. */
export const MODE = 0o600;

export async function writeRecord(directory: string, record: UploadRecord): Promise<void> {
  const path = recordPath(directory, record.id);
  const draft = `${path}.new`;
  try {
    const file = await open(draft, "w", MODE);
    try {
      await file.writeFile(JSON.stringify(record));
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (thrown) {
    await rm(draft, { force: true }).catch(() => {});
    throw thrown;
  }
}

/** Undefined for what is no record: then nobody can be told whose it is. */
export async function readRecord(directory: string, id: string): Promise<UploadRecord | undefined> {
  try {
    const record = (await Bun.file(recordPath(directory, id)).json()) as UploadRecord;
    const isWhole = record.id === id && typeof record.owner === "string" && typeof record.expiresAt === "number";
    return isWhole ? record : undefined;
  } catch {
    return undefined;
  }
}

export async function removeFiles(directory: string, id: string): Promise<void> {
  // The record last: as long as it is there, what is left is found again.
  await rm(bytesPath(directory, id), { force: true });
  await rm(recordPath(directory, id), { force: true });
}
