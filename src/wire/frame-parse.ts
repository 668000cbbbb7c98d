/** Reads the messages of a `backtalk.v1` client: nothing that is not of a known form gets further. */
import type { ClientMessage } from "./frame.ts";
import { isTooDeep } from "./json.ts";

/** Why a message cannot be taken. */
export interface BadMessage {
  readonly type: "bad";
  /** Of the exchange that it was meant for, where that much could be read. */
  readonly id?: number;
  /** Whether it was meant to begin an exchange: then the fault answers it. */
  readonly isOpening: boolean;
  /** The member that is wrong; empty for the whole message. */
  readonly path: string;
  readonly message: string;
  /** The limit that was hit, if it was one. */
  readonly limit?: string;
}

export interface ParseLimits {
  readonly jsonDepth: number;
}

/** Never throws. */
export function parseClientMessage(text: string, limits: ParseLimits): ClientMessage | BadMessage {
  // The message is a level of its own around the input.
  if (isTooDeep(text, limits.jsonDepth + 1)) {
    return { ...unread(text, `nests deeper than ${limits.jsonDepth} levels`), limit: "jsonDepth" };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return unread(text, "is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return bad("", "must be one JSON object");
  const object = value as Record<string, unknown>;
  const { type } = object;
  if (typeof type !== "string") return bad("type", "must be text");
  // Own members only: `type` comes from outside.
  if (!Object.hasOwn(FORMS, type)) {
    // Of a newer client: what it waits for under this id must not wait for ever.
    const id = isId(object["id"]) ? object["id"] : undefined;
    return { ...bad("type", `is not known: ${type.slice(0, 32)}`), isOpening: true, ...(id !== undefined && { id }) };
  }
  const form = FORMS[type as ClientMessage["type"]];
  const hasId = "id" in form;
  const id = hasId && isId(object["id"]) ? object["id"] : undefined;
  const isOpening = hasId && (OPENING.has(type) || object["call"] !== undefined);
  for (const name in form) {
    const member = form[name]!;
    const given = object[name];
    if (given === undefined ? member.isRequired : !member.test(given)) {
      return { ...bad(name, member.says), isOpening, ...(id !== undefined && { id }) };
    }
  }
  return object as unknown as ClientMessage;
}

/** Numbers above this are never meant. */
const MOST = 2 ** 31 - 1;
/** Longest name or cursor that is looked at: the core says more exactly what is wrong with a shorter one. */
const NAME_CHARS = 1024;
const TOKEN_CHARS = 16 * 1024;

interface Member {
  readonly isRequired: boolean;
  readonly test: (value: unknown) => boolean;
  readonly says: string;
}
type Form = Readonly<Record<string, Member>>;

const optional = (test: Member["test"], says: string): Member => ({ isRequired: false, test, says });
const required = (member: Member): Member => ({ ...member, isRequired: true });

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST;
}

function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

const text = (most: number) =>
  optional(
    (value) => typeof value === "string" && value.length > 0 && value.length <= most,
    `must be text of 1 to ${most} characters`,
  );
const name = text(NAME_CHARS);
const flag = optional((value) => typeof value === "boolean", "must be true or false");
const count = optional(isCount, `must be a whole number from 0 to ${MOST}`);
const id = required(optional(isId, "must be a whole number from 0 to 2^53 - 1"));
const ms = optional(
  (value) => typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER,
  "must be milliseconds, 0 or more",
);
const positiveMs = optional(
  (value) => typeof value === "number" && value > 0 && value <= Number.MAX_SAFE_INTEGER,
  "must be milliseconds above 0",
);
const sequence = optional(isId, "must be a whole number, 0 or more");
const anything = required(optional(() => true, "is missing"));

/** Members that are not listed are ignored (PROTOCOL.md §3). */
const FORMS: Readonly<Record<ClientMessage["type"], Form>> = {
  auth: { token: required(text(TOKEN_CHARS)) },
  call: {
    id,
    method: required(name),
    key: optional((value) => typeof value === "string", "must be text"),
    keep: flag,
    timeoutMs: positiveMs,
    credit: count,
    traceparent: name,
    tracestate: name,
  },
  attach: { id, call: required(name), after: name, credit: count, follow: flag },
  subscribe: { id, topic: required(name), after: name, credit: required(count), follow: flag },
  credit: { id, n: required(count) },
  items: {
    id,
    call: name,
    seq: sequence,
    items: required(optional((value) => Array.isArray(value), "must be an array")),
    end: flag,
  },
  publish: {
    id,
    topic: required(name),
    event: anything,
    key: optional((value) => typeof value === "string", "must be text"),
  },
  state: { id, call: name, topic: name, after: name, waitMs: ms },
  cancel: { id, call: name },
  leave: { id },
  pong: {},
};

const OPENING: ReadonlySet<string> = new Set(["call", "attach", "subscribe", "publish", "state"]);

/** What was not parsed can still tell whom it was for, when it begins as messages should (PROTOCOL.md §3). */
function unread(text: string, message: string): BadMessage {
  const begin = /^\{"type":"([a-z]{1,16})","id":(\d{1,15})[,}]/.exec(text);
  if (!begin) return bad("", message);
  const [, type, id] = begin as unknown as [string, string, string];
  return { ...bad("", message), id: Number(id), isOpening: OPENING.has(type) };
}

function bad(path: string, message: string): BadMessage {
  return { type: "bad", path, message, isOpening: false };
}
