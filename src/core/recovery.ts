/** After a restart: calls without an end are started again, or end with a fault that says so. */
import { ANONYMOUS, type Principal, validate } from "../contract/index.ts";
import { type Cursor, Fault, type LogInfo, toFault } from "../log/index.ts";
import { type Context, callLog, type Entry, inputLog, type OpenRecord } from "./context.ts";
import { Run, restartFault } from "./run.ts";
import { deadlineFault } from "./util.ts";

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
  await Promise.all(
    open.map(async (info) => {
      const isRetried = await recoverOne(context, info).catch((thrown) => {
        context.logger.note("error", "a call could not be recovered", {
          log: info.log,
          fault: toFault(thrown).message,
        });
        return false;
      });
      counts[isRetried ? "retried" : "failed"]++;
    }),
  );
  return counts;
}

async function recoverOne(context: Context, info: LogInfo): Promise<boolean> {
  const { store } = context;
  const record = await lastOpen(context, info);
  const entry = record && context.methods.get(record.method);
  const fault = whyNot(context, entry, record);
  if (fault || !entry || !record) {
    await store.append(info.log, [{ kind: "fail", json: JSON.stringify(fault ?? restartFault()) }]);
    return false;
  }
  const takesItems = entry.method.kind === "clientStream" || entry.method.kind === "bidi";
  let input: unknown;
  try {
    input = takesItems ? undefined : await validate(entry.method.input, record.input, "input");
  } catch (thrown) {
    await store.append(info.log, [{ kind: "fail", json: JSON.stringify(toFault(thrown)) }]);
    return false;
  }
  const again: OpenRecord = { ...record, attempt: record.attempt + 1 };
  // The input stays in the first event; the guard lets one process only take the call.
  const { input: _, ...rest } = again;
  const draft = { kind: "open", json: JSON.stringify(rest) } as const;
  if (takesItems) await store.append(inputLog(record.id), [], { create: info.labels });
  const { outcome } = await store.append(info.log, [draft], { after: info.head });
  if (outcome !== "appended") return false;
  const principal: Principal = record.owner === undefined ? ANONYMOUS : { id: record.owner };
  const call = { to: record.method, principal, via: record.via ?? "restart" };
  const seat = context.gate.enter(call);
  const run = new Run({
    context,
    entry,
    store,
    record: again,
    principal,
    input,
    head: info.head,
    via: call.via,
    caller: undefined,
    seat,
  });
  void run.start();
  return true;
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
