/** What server and worker say to each other (PROTOCOL.md §8.5). */
import type { FaultJson } from "../../log/index.ts";
import type { Message } from "./driver.ts";

/** The type of their messages; the content type too, so that nobody parses them but here. */
export const JOB = "backtalk.job";

/** A job, as it waits in the queue of its method. Its `message_id` is the token. */
export interface Job {
  readonly call: string;
  readonly method: string;
  /** Of all copies of a job the one that counts. */
  readonly token: string;
  /** The queue of the server. */
  readonly server: string;
  readonly input?: unknown;
  readonly principal: string;
  readonly deadline?: number;
  readonly traceparent?: string;
  readonly tracestate?: string;
}

interface OfRun {
  readonly call: string;
  /** One attempt of one worker. */
  readonly run: string;
}

export type FromWorker = OfRun &
  (
    | { readonly do: "claim"; readonly token: string }
    /** Still running, after its connection was lost. */
    | { readonly do: "resume" }
    | { readonly do: "lost" }
    | { readonly do: "item"; readonly n: number; readonly data: unknown }
    | { readonly do: "progress"; readonly data: unknown }
    /** `n` is how many items came before. */
    | { readonly do: "end"; readonly n: number; readonly result?: unknown }
    | { readonly do: "fail"; readonly n: number; readonly fault: FaultJson }
    | { readonly do: "history"; readonly ask: number; readonly after?: string }
    | {
        readonly do: "publish";
        readonly ask: number;
        readonly topic: string;
        readonly event: unknown;
        readonly key: string;
      }
    | { readonly do: "queue-lost"; readonly method: string }
  );

export type ToWorker = OfRun &
  (
    | { readonly do: "grant"; readonly attempt: number }
    /** The call has ended, or is somebody else's; `isPoison`: the job is to be kept as a dead letter. */
    | { readonly do: "gone"; readonly isPoison?: boolean }
    | { readonly do: "cancel"; readonly fault: FaultJson }
    /** The end is in the store: the job can be acknowledged. */
    | { readonly do: "stored" }
    | { readonly do: "ping" }
    | { readonly do: "answer"; readonly ask: number; readonly data?: unknown; readonly fault?: FaultJson }
  );

export interface HistoryPage {
  readonly events: readonly { readonly kind: "item" | "progress"; readonly data: unknown }[];
  /** Where it goes on; absent at the end. */
  readonly next?: string;
}

/** Undefined for what is none: only the broker's operator can have put it there. */
export function parseJobMessage<T>({ type, body }: Message): T | undefined {
  if (type !== JOB || !(body instanceof Uint8Array)) return undefined;
  try {
    const value = JSON.parse(new TextDecoder().decode(body)) as unknown;
    return typeof value === "object" && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}
