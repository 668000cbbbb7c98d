/** After a restart: calls without an end are started again, or end with a fault that says so. */
import { ANONYMOUS, type Principal, validate } from "../contract/index.ts";
import { type Cursor, Fault, isEnd, type LogInfo, toFault } from "../log/index.ts";
import { type Context, callLog, type Entry, findLog, inputLog, type OpenRecord } from "./context.ts";
import { endFrom } from "./ending.ts";
import { Run } from "./run.ts";
import { deadlineFault, pause, restartFault, utf8Bytes } from "./util.ts";

export async function recover(context: Context): Promise<{ retried: number; failed: number }> {
  const counts = { retried: 0, failed: 0 };
  const { store } = context;
  const open: LogInfo[] = [];
  let after: string | undefined;
  do {
    const page = await store.list({
      prefix: callLog(""),
      state: "open",
      limit: 500,
      ...(after !== undefined && { after }),
    });
    open.push(...page.logs);
    after = page.next;
  } while (after !== undefined);
  const queue = open.values();
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (const info of queue) {
      const outcome = await recoverOne(context, info).catch((thrown) => {
        context.logger.note("error", "a call could not be recovered yet", {
          log: info.log,
          fault: toFault(thrown).message,
        });
        void recoverLater(context, info.log);
        return undefined;
      });
      if (outcome) counts[outcome]++;
    }
  });
  await Promise.all(workers);
  return counts;
}

/** Logs that are read at once: each can be large. */
const AT_ONCE = 32;

/** A call without an end must not stay so because the store was busy once. */
async function recoverLater(context: Context, log: string): Promise<void> {
  const { signal } = context.closing;
  for (let tries = 0; !signal.aborted; tries++) {
    await pause(Math.min(30_000, 200 * 2 ** tries), signal);
    if (signal.aborted) return;
    try {
      const info = await findLog(context.store, log);
      if (info && !(info.last && isEnd(info.last.kind))) await recoverOne(context, info);
      return;
    } catch {
      // Said once already.
    }
  }
}

/** Undefined when another process was faster. */
async function recoverOne(context: Context, info: LogInfo): Promise<"retried" | "failed" | undefined> {
  const { store } = context;
  const record = await lastOpen(context, info);
  const entry = record && context.methods.get(record.method);
  const end = async (fault: Fault) => {
    const options = { after: info.head, ...(record && { attempt: record.attempt }) };
    return (await endFrom(context, store, info, fault, options)) ? "failed" : undefined;
  };
  const fault = whyNot(context, entry, record);
  if (fault || !entry || !record) return end(fault ?? restartFault());
  const takesItems = entry.method.kind === "clientStream" || entry.method.kind === "bidi";
  let input: unknown;
  try {
    input = takesItems ? undefined : await validate(entry.method.input, record.input, "input");
  } catch (thrown) {
    return end(toFault(thrown));
  }
  const again: OpenRecord = { ...record, attempt: record.attempt + 1 };
  // The input stays in the first event; the guard lets one process only take the call.
  const { input: _, ...rest } = again;
  const draft = { kind: "open", json: JSON.stringify(rest) } as const;
  if (takesItems) await store.append(inputLog(record.id), [], { create: info.labels });
  const { outcome } = await store.append(info.log, [draft], { after: info.head });
  if (outcome !== "appended") return undefined;
  const principal: Principal = record.owner === undefined ? ANONYMOUS : { id: record.owner };
  const bytes = utf8Bytes(draft.json);
  context.usage.add(principal.id, bytes);
  const call = { to: record.method, principal, via: record.via ?? "restart" };
  const run = new Run({
    context,
    entry,
    store,
    record: again,
    principal,
    input,
    head: info.head,
    bytes: info.bytes + bytes,
    via: call.via,
    caller: undefined,
    seat: context.gate.admit(call),
  });
  if (context.closing.signal.aborted) void run.release();
  void run.start();
  return "retried";
}

function whyNot(context: Context, entry: Entry | undefined, record: OpenRecord | undefined): Fault | undefined {
  if (!record) return new Fault("data_loss", "the beginning of the call's log is missing");
  if (!entry) {
    return new Fault("unavailable", `the server was restarted, and ${record.method} is not served any more`, {
      retryable: false,
    });
  }
  if (record.deadline !== undefined && record.deadline <= context.now()) return deadlineFault();
  const { onRestart, maxAttempts = 5 } = entry.method.options;
  if (onRestart !== "retry") return restartFault();
  if (record.attempt < maxAttempts) return undefined;
  return new Fault("unavailable", `the server was restarted in each of ${record.attempt} attempts`, {
    limit: "maxAttempts",
    retryable: false,
    hint: "look in the server's log whether this call makes the server end",
  });
}

/** The newest `open` of the log, with the input of the first. */
async function lastOpen(context: Context, info: LogInfo): Promise<OpenRecord | undefined> {
  let first: OpenRecord | undefined;
  let newest: OpenRecord | undefined;
  let from: Cursor | "start" = "start";
  for (;;) {
    let more = false;
    for await (const page of context.store.read(info.log, { from, follow: false })) {
      for (const { kind, json } of page.events) {
        if (kind !== "open") continue;
        newest = JSON.parse(json) as OpenRecord;
        first ??= newest;
      }
      from = page.cursor;
      more = page.more;
    }
    if (!more) break;
  }
  if (!first || !newest) return undefined;
  return { ...newest, ...("input" in first && { input: first.input }) };
}
