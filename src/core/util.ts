/** Small things that several parts of the core need. */
import { createHash } from "node:crypto";
import { MOST_TIMER_MS } from "../contract/timer.ts";
import { Fault } from "../log/index.ts";

export { keyedId, randomId } from "../contract/ids.ts";

export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** Calls `then` when the signal aborts, or at once; returns what takes the listener away. */
export function onAbort(signal: AbortSignal, then: () => void): () => void {
  if (signal.aborted) {
    then();
    return () => {};
  }
  signal.addEventListener("abort", then, { once: true });
  return () => signal.removeEventListener("abort", then);
}

/** Calls `then` after so long; returns what takes the timer away. What is further off than 24 days is never. */
export function after(ms: number, then: () => void): () => void {
  if (ms > MOST_TIMER_MS) return () => {};
  const timer = setTimeout(then, Math.max(0, ms));
  return () => clearTimeout(timer);
}

/** Resolves after so long, or when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      unhook();
      resolve();
    };
    const cancel = after(ms, done);
    let unhook = () => {};
    unhook = onAbort(signal, done);
  });
}

/** Lets timers and sockets have their turn: promises alone never do. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function deadlineFault(): Fault {
  return new Fault("deadline_exceeded", "the deadline passed before the call had ended", {
    hint: "allow more time, or ask for a handle and come back",
  });
}

export function restartFault(): Fault {
  return new Fault("unavailable", "the server was restarted while the call ran", {
    hint: 'call again with a new key; a method with onRestart: "retry" is started again by itself',
  });
}

/** A hash of a JSON value that does not depend on the order of the members of its objects. */
export function fingerprint(value: unknown): string {
  return createHash("sha256").update(canonical(value)).digest("base64url").slice(0, 27);
}

export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${members.map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`).join(",")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

export function utf8Bytes(text: string): number {
  return Buffer.byteLength(text);
}

/** JSON text of an item within its limit. @throws Fault `resource_exhausted`, or `internal` for what JSON cannot say */
export function toJson(value: unknown, itemBytes: number, what: string): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new Fault("internal", `the ${what} cannot be written as JSON`, { cause });
  }
  json ??= "null";
  // A character of JSON text is one to three bytes of UTF-8; counting is only needed near the limit.
  if (json.length * 3 > itemBytes && utf8Bytes(json) > itemBytes) {
    throw new Fault("resource_exhausted", `the ${what} has more than ${itemBytes} bytes`, {
      limit: "itemBytes",
      retryable: false,
      hint: "send it in smaller parts, or raise the limit itemBytes of the server",
    });
  }
  return json;
}

/** The first of `names` that is close to `name`, for a hint. */
export function closest(name: string, names: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 4)) + 1;
  for (const each of names) {
    const far = distance(name.toLowerCase(), each.toLowerCase(), least);
    if (far < least) {
      best = each;
      least = far;
    }
  }
  return best;
}

/** Levenshtein's distance, given up at `most`. */
function distance(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) >= most || a.length > 256) return most;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
