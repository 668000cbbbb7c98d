/** Opens calls: decides whether a call is recorded, writes its first event, and starts its handler. */
import { type Call, type Exchange, validate } from "../contract/index.ts";
import { Fault, toFault } from "../log/index.ts";
import { type Context, callLog, type Entry, findLog, inputLog, type OpenRecord, storeOf } from "./context.ts";
import { Direct } from "./direct.ts";
import type { Seat } from "./gate.ts";
import { guarded } from "./guard.ts";
import { Kept } from "./kept.ts";
import { Run } from "./run.ts";
import { fingerprint, keyedId, randomId, toJson, utf8Bytes } from "./util.ts";

export function open(context: Context, entry: Entry, call: Call): Exchange | Promise<Exchange> {
  const { kind, options } = entry.method;
  const isKept = call.keep === true || call.key !== undefined || kind !== "unary" || options.recorded === "always";
  if (!isKept) return new Direct(context, entry, call);
  const opened = openKept(context, entry, call);
  if (!context.authorize) return opened;
  return opened.then((kept) => guarded(context, kept, call.principal, "call", kept.id, "writes"));
}

async function openKept(context: Context, entry: Entry, call: Call): Promise<Kept> {
  const { method, name } = entry;
  const { principal, key } = call;
  if (key !== undefined) checkKey(key, context.limits.keyChars);
  const takesItems = method.kind === "clientStream" || method.kind === "bidi";
  // Before anything is stored: bad input makes no call.
  const input = takesItems ? undefined : await validate(method.input, call.input, "input", name);
  const prefix = method.options.recorded === "never" ? "v" : "c";
  const id = prefix + (key === undefined ? randomId() : keyedId(principal.id, name, key));
  const store = storeOf(context, id);
  const running = key === undefined ? undefined : context.runs.get(id);
  if (running) return attachByKey(context, entry, call, id);
  let seat: Seat;
  try {
    context.usage.check(principal.id);
    seat = context.gate.enter(call);
  } catch (thrown) {
    // A call that exists is no new one: its caller gets its answer also when there is no room for another.
    if (key !== undefined && (await findLog(store, callLog(id)))) return attachByKey(context, entry, call, id);
    throw thrown;
  }
  let isOpen = false;
  try {
    const record = recordOf(context, entry, call, id);
    const json = toJson(record, Number.POSITIVE_INFINITY, "input");
    const bytes = utf8Bytes(json);
    const labels = { owner: principal.id, method: name };
    const [opened, inputs] = await Promise.allSettled([
      store.append(callLog(id), [{ kind: "open", json }], { after: "absent", create: labels }),
      takesItems ? store.append(inputLog(id), [], { create: labels }) : undefined,
    ]);
    if (opened.status === "rejected") throw opened.reason;
    const { outcome, cursor } = opened.value;
    if (outcome !== "appended") return await attachByKey(context, entry, call, id);
    isOpen = true;
    context.usage.add(principal.id, bytes);
    context.metrics.add("backtalk_events_appended_total", "", 1);
    const { via } = call;
    const run = new Run({
      context,
      entry,
      store,
      record,
      principal,
      input,
      head: cursor,
      bytes,
      via,
      caller: call,
      seat,
    });
    // The log is there: from here on the call has to get its end.
    if (inputs.status === "rejected") run.fail(toFault(inputs.reason));
    else if (context.closing.signal.aborted) void run.release();
    void run.start();
    if (inputs.status === "rejected") throw inputs.reason;
    return new Kept(context, store, id, name, false);
  } finally {
    if (!isOpen) context.gate.leave(seat);
  }
}

/** The key was used before: the same input is the same call. */
async function attachByKey(context: Context, entry: Entry, call: Call, id: string): Promise<Kept> {
  const store = storeOf(context, id);
  // Items of a client stream are compared one by one as they come.
  if (entry.method.kind === "unary" || entry.method.kind === "serverStream") {
    for await (const page of store.read(callLog(id), { from: "start", follow: false, pageEvents: 1 })) {
      const event = page.events[0];
      if (event?.kind !== "open") break;
      const { fingerprint: before } = JSON.parse(event.json) as OpenRecord;
      if (before === fingerprint(call.input)) break;
      throw new Fault("invalid_argument", "this idempotency key was used with another input", {
        detail: { key: "reused" },
        hint: "use a new key for a new call",
      });
    }
  }
  return new Kept(context, store, id, entry.name, true);
}

function recordOf(context: Context, entry: Entry, call: Call, id: string): OpenRecord {
  const { principal, key, trace, via, input } = call;
  const most = entry.method.options.deadlineMs;
  const deadline = Math.min(
    call.deadline ?? Number.POSITIVE_INFINITY,
    most === undefined ? Number.POSITIVE_INFINITY : context.now() + most,
  );
  return {
    id,
    method: entry.name,
    attempt: 1,
    ...(principal.id !== "" && { owner: principal.id }),
    ...(input !== undefined && { input }),
    ...(key !== undefined && { fingerprint: fingerprint(input) }),
    ...(deadline !== Number.POSITIVE_INFINITY && { deadline }),
    ...(trace && { traceparent: trace.traceparent }),
    ...(trace?.tracestate !== undefined && { tracestate: trace.tracestate }),
    via,
  };
}

export function checkKey(key: string, keyChars: number): void {
  if (key.length > 0 && key.length <= keyChars) return;
  throw new Fault("invalid_argument", `an idempotency key has 1 to ${keyChars} characters`, { limit: "keyChars" });
}
