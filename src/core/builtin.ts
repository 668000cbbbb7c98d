/** Methods that every server has, reachable like any other. */
import type { HandlerCall, Method, Schema } from "../contract/index.ts";
import { type Context, callLog } from "./context.ts";
import { stateOf } from "./kept.ts";

interface CallsInput {
  readonly state?: "running" | "done" | "failed" | "cancelled";
  readonly method?: string;
  readonly after?: string;
  /** 1 to 100, by default 50. */
  readonly limit?: number;
}

/** `backtalk/calls`: the caller's own calls, newest first. */
export function callsMethod(context: () => Context): Method {
  return {
    type: "method",
    kind: "unary",
    input: callsInput,
    output: anything,
    progress: undefined,
    fold: undefined,
    options: { safe: true, cacheControl: "no-store", description: "The caller's own calls, newest first." },
    handler: async (input: CallsInput, call: HandlerCall) => {
      const { state, method, after, limit = 50 } = input;
      const { store } = context();
      const stored = state === "running" ? "open" : state === "done" ? "end" : state === undefined ? undefined : "fail";
      const page = await store.list({
        prefix: callLog(""),
        labels: { owner: call.principal.id, ...(method !== undefined && { method }) },
        newestFirst: true,
        limit,
        ...(stored && { state: stored }),
        ...(after !== undefined && { after }),
      });
      const states = await Promise.all(page.logs.map((info) => stateOf(context(), info)));
      // A page of results could be as large as a hundred of the largest: who wants one asks for its call.
      const calls = states.map(({ result: _, ...rest }) => rest);
      return {
        calls: state === undefined ? calls : calls.filter((each) => each.state === state),
        ...(page.next !== undefined && { next: page.next }),
      };
    },
  };
}

const STATES = ["running", "done", "failed", "cancelled"];

/** Written by hand: the core depends on no schema library. */
const callsInput: Schema<CallsInput> = {
  "~standard": {
    version: 1,
    vendor: "backtalk",
    validate(value) {
      const issues: { message: string; path: string[] }[] = [];
      const input = (value ?? {}) as Record<string, unknown>;
      if (typeof input !== "object" || Array.isArray(input)) return { issues: [{ message: "must be an object" }] };
      const { state, method, after, limit } = input;
      const bad = (name: string, message: string) => issues.push({ message, path: [name] });
      if (state !== undefined && !STATES.includes(state as string)) bad("state", `must be one of ${STATES.join(", ")}`);
      if (method !== undefined && typeof method !== "string") bad("method", "must be text");
      if (after !== undefined && (typeof after !== "string" || !/^[0-9a-z-]{1,64}$/.test(after))) {
        bad("after", "must be the `next` of a page");
      }
      if (limit !== undefined && !(Number.isInteger(limit) && (limit as number) >= 1 && (limit as number) <= 100)) {
        bad("limit", "must be a whole number from 1 to 100");
      }
      return issues.length > 0 ? { issues } : { value: input as CallsInput };
    },
  },
};

const anything: Schema = { "~standard": { version: 1, vendor: "backtalk", validate: (value) => ({ value }) } };
