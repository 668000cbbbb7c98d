/** What an error of SQLite or of the file system means to a caller. */
import { Fault } from "../../log/index.ts";

const FREE_SPACE = "free space on the disk, or shorten the retention; the store goes on by itself then";
const CHECK_DISK = "look at the disk and at the system's log";

/** @param path of the store, for the message. A Fault is returned as it is. */
export function sqliteFault(thrown: unknown, path: string): Fault {
  if (thrown instanceof Fault) return thrown;
  const code = codeOf(thrown);
  const cause = thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (code.startsWith("SQLITE_FULL") || code === "ENOSPC" || code === "EDQUOT") {
    return new Fault("resource_exhausted", `no space left for ${path}`, { hint: FREE_SPACE, limit: "disk", cause });
  }
  if (code === "SQLITE_NOTADB") {
    return new Fault("data_loss", `${path} is not a store: the file is damaged or of another kind`, {
      hint: "give another path, or restore the file from a copy",
      cause,
    });
  }
  if (code.startsWith("SQLITE_CORRUPT")) {
    return new Fault("data_loss", `${path} is damaged: ${message}`, { hint: "restore the file from a copy", cause });
  }
  if (/^(SQLITE_READONLY|SQLITE_CANTOPEN|SQLITE_PERM|E[A-Z]+$)/.test(code)) {
    return new Fault("failed_precondition", `cannot write ${path}: ${message}`, {
      hint: "the directory and its files must be writable for this user, on a disk that is not read-only",
      cause,
    });
  }
  if (code.startsWith("SQLITE_")) {
    return new Fault("unavailable", `${path} failed: ${message} (${code})`, { hint: CHECK_DISK, cause });
  }
  return new Fault("internal", `${path} failed: ${message}`, { cause });
}

export function codeOf(thrown: unknown): string {
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}
