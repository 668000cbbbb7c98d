/** What a server can be told. Every default is stated; every number has its unit. */
import type { Authenticate, Authorize, Layer, Limits, Timing } from "../contract/index.ts";
import type { FaultJson, Store } from "../log/index.ts";

export interface CoreOptions {
  /** Where recorded calls and topics are kept. The core does not close it. */
  readonly store: Store;
  /** Default: everybody is anonymous, and one principal. */
  readonly authenticate?: Authenticate;
  /** Default: everybody may everything, but see only their own calls. */
  readonly authorize?: Authorize;
  readonly limits?: Partial<Limits>;
  readonly timing?: Partial<Timing>;
  readonly retention?: Partial<Retention>;
  /** How long running calls may take to finish when the server goes, in milliseconds (default 10 s). */
  readonly drainMs?: number;
  readonly logger?: Logger;
  /** Policies around the core, the outermost first. */
  readonly layers?: readonly Layer[];
  /** Why calls cannot be accepted, besides what the core knows itself: for /readyz. */
  readonly unready?: () => readonly string[];
  readonly now?: () => number;
  /** 0 to 1, for jitter and epochs; ids come from the platform's secure generator. */
  readonly random?: () => number;
}

export interface Retention {
  /** How long a call is kept after its end, in milliseconds (default 24 h). */
  readonly callMs: number;
  /** How often is looked for what can be removed, in milliseconds (default 30 s). */
  readonly everyMs: number;
  /** How long a client stream may wait for the next item, in milliseconds (default 1 h). */
  readonly inputIdleMs: number;
}

export const RETENTION: Retention = Object.freeze({
  callMs: 24 * 3_600_000,
  everyMs: 30_000,
  inputIdleMs: 3_600_000,
});

/** A line for each call at most, without payloads and without secrets. */
export interface CallLine {
  readonly at: number;
  readonly method: string;
  readonly via: string;
  /** `ok` or the code of the fault. */
  readonly code: "ok" | FaultJson["code"];
  readonly ms: number;
  readonly id?: string;
  readonly principal?: string;
  readonly attempt?: number;
  readonly traceparent?: string;
  /** Of a defect in the handler: the error as it was thrown. */
  readonly error?: unknown;
}

export interface Logger {
  /** Which calls get a line: all, those that are recorded or failed, or only those that failed by a defect. */
  readonly calls: "all" | "recorded" | "defects";
  call(line: CallLine): void;
  note(level: "info" | "warn" | "error", message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export const SILENT: Logger = Object.freeze({ calls: "defects", call() {}, note() {} });

/** A logger that fails must not change what happens to a call. */
export function harmless(logger: Logger): Logger {
  const tried = (write: () => void) => {
    try {
      write();
    } catch {
      // There is nobody else to tell.
    }
  };
  return {
    calls: logger.calls,
    call: (line) => tried(() => logger.call(line)),
    note: (level, message, fields) => tried(() => logger.note(level, message, fields)),
  };
}
