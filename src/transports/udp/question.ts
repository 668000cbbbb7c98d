/** What a datagram asks for (PROTOCOL.md §6.1), checked. */
import { CALLS, type Host, TOPICS } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { bodyObject } from "../../wire/datagram.ts";
import { isTooDeep } from "../../wire/json.ts";

interface Shown {
  /** Credentials. */
  readonly token?: string;
  readonly apiKey?: string;
}

export interface CallQuestion extends Shown {
  readonly method: string;
  readonly input?: unknown;
  readonly key?: string;
  readonly keep?: boolean;
  readonly timeoutMs?: number;
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/** About the call of this id. */
export interface StateQuestion extends Shown {
  readonly state: string;
}

export interface CancelQuestion extends Shown {
  readonly cancel: string;
}

export type Question = CallQuestion | StateQuestion | CancelQuestion;

const TYPES: Readonly<Record<string, "string" | "boolean" | "number">> = {
  method: "string",
  key: "string",
  keep: "boolean",
  timeoutMs: "number",
  traceparent: "string",
  tracestate: "string",
  token: "string",
  apiKey: "string",
  state: "string",
  cancel: "string",
};

/** @throws Fault for what cannot be read, and for what is not done over UDP */
export function parseQuestion(body: Uint8Array, { contract, limits }: Host): Question {
  if (isTooDeep(new TextDecoder().decode(body), limits.jsonDepth)) {
    throw new Fault("invalid_argument", `the datagram nests deeper than ${limits.jsonDepth} levels`, {
      limit: "jsonDepth",
    });
  }
  const object = bodyObject(body);
  if (!object) throw bad("what comes after the token is not a JSON object in UTF-8");
  for (const [name, type] of Object.entries(TYPES)) {
    const value = object[name];
    if (value !== undefined && typeof value !== type) throw bad("a member has the wrong type", name, `is no ${type}`);
  }
  const { method, state, cancel, timeoutMs } = object as { [name: string]: unknown } & Partial<CallQuestion>;
  if ([method, state, cancel].filter((each) => each !== undefined).length !== 1) {
    throw bad("a question has one of method, state and cancel", "method", "is needed");
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0)) throw bad("a timeout is positive", "timeoutMs", "is not above 0");
  if (method !== undefined) checkMethod(method, contract);
  return object as unknown as Question;
}

function checkMethod(method: string, contract: Host["contract"]): void {
  if (method.startsWith(TOPICS)) throw notHere("topics are not carried over UDP");
  // `calls/...` is an address of the peer, not a method.
  if (method.startsWith(CALLS)) {
    throw new Fault("not_found", `there is no method ${method.slice(0, 128)}`, {
      hint: "ask for the `state` of a call",
    });
  }
  const kind = contract.methods.get(method)?.kind;
  if (kind !== undefined && kind !== "unary") throw notHere(`${method} is a stream, and UDP carries unary calls only`);
}

function notHere(message: string): Fault {
  return new Fault("unimplemented", message, { hint: "use another transport, such as websocket, sse or tcp" });
}

function bad(message: string, path?: string, what?: string): Fault {
  return new Fault("invalid_argument", message, {
    hint: "PROTOCOL.md §6.1 says what a datagram holds",
    ...(path !== undefined && { fields: [{ path, message: what ?? message }] }),
  });
}
