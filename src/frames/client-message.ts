/** What the server says to an exchange, loosely: it is checked where it is used. */
import { Fault } from "../log/fault.ts";
import type { Cursor, LogEvent, Page, Verdict } from "../log/index.ts";

export interface Message {
  readonly type: string;
  readonly id?: number;
  readonly call: string;
  readonly replayed?: boolean;
  readonly data?: unknown;
  readonly fault?: unknown;
  readonly events: readonly { cursor: Cursor; kind: LogEvent["kind"]; at: number; data?: unknown }[];
  readonly cursor: Cursor;
  readonly ended?: boolean;
  readonly more?: boolean;
  readonly verdict?: Omit<Verdict, "state"> & { readonly state?: unknown };
  readonly next: number;
  readonly limits: { readonly bodyBytes: number };
  readonly expiresAt?: number;
  readonly retryAfterMs?: number;
  readonly reason?: string;
}

/** A message that begins an exchange, without its id. */
export interface Opening {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** Takes what comes for one exchange; `fault` ends it. */
export type Handler = (message: Message | undefined, fault?: Fault) => void;

export function toPage({ verdict, events, cursor }: Message): Page {
  const kind = events.at(-1)?.kind;
  return {
    ...(verdict && { verdict: toVerdict(verdict) }),
    events: events.map(({ cursor, kind, at, data }) => ({ cursor, kind, json: JSON.stringify(data ?? null), at })),
    cursor,
    more: false,
    ended: kind === "end" || kind === "fail",
  };
}

function toVerdict({ state, ...rest }: NonNullable<Message["verdict"]>): Verdict {
  return { ...rest, ...(state !== undefined && { state: JSON.stringify(state) }) };
}

export function tooLarge(): Fault {
  return new Fault("resource_exhausted", "the message is larger than the server takes", {
    limit: "bodyBytes",
    retryable: false,
  });
}

/** Calls when a signal aborts, or has; returns what takes the listeners away. */
export function listen(
  stop: (signal: AbortSignal) => void,
  ...signals: readonly (AbortSignal | undefined)[]
): () => void {
  const onAbort = ({ target }: Event): void => stop(target as AbortSignal);
  for (const signal of signals) signal?.addEventListener("abort", onAbort);
  const aborted = signals.find((signal) => signal?.aborted);
  if (aborted) queueMicrotask(() => stop(aborted));
  return () => {
    for (const signal of signals) signal?.removeEventListener("abort", onAbort);
  };
}
