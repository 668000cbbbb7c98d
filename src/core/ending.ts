/** The end of a recorded call: written once, after all that the handler said, and tried until it is stored. */
import {
  type Cursor,
  Fault,
  type FaultJson,
  faultFromJson,
  type LogEvent,
  type LogInfo,
  type Store,
  toFault,
} from "../log/index.ts";
import { type Context, callLog, type EndRecord, findLog, inputLog } from "./context.ts";
import type { Recorder } from "./recorder.ts";
import { pause, toJson, utf8Bytes } from "./util.ts";

export interface EndOptions {
  readonly context: Context;
  readonly store: Store;
  readonly recorder: Recorder;
  readonly id: string;
  readonly attempt: number;
}

/**
 * Resolves with the end that the log has, whoever wrote it; undefined when the server goes before it could
 * be stored: then the next process ends the call. Never rejects.
 */
export async function writeEnd(options: EndOptions, end: EndRecord): Promise<EndRecord | undefined> {
  const { context, store, recorder, id, attempt } = options;
  const { itemBytes } = context.limits;
  const lost = await recorder.settled();
  // Something that the handler said is not in the log: a result would stand for a log with a hole.
  let [draft, written] = draftOf(lost && end.kind === "end" ? { kind: "fail", fault: lost } : end, attempt, itemBytes);
  for (let tries = 0; ; tries++) {
    try {
      if (await recorder.end(draft)) return written;
      // Somebody else was first, or an earlier try was stored without our hearing of it.
      const last = (await findLog(store, callLog(id)))?.last;
      return last ? endOf(last) : { kind: "fail", fault: new Fault("not_found", "the call has been removed") };
    } catch (thrown) {
      const fault = toFault(thrown);
      if (fault.code === "not_found") return { kind: "fail", fault };
      if (context.closing.signal.aborted) return undefined;
      if (tries === 0) context.logger.note("error", "the end of a call cannot be stored", { id, fault: fault.message });
      // The result does not fit any more, but a fault may.
      if (written.kind === "end" && fault.code === "resource_exhausted") {
        [draft, written] = draftOf({ kind: "fail", fault }, attempt, itemBytes);
      }
      await pause(Math.min(5000, 50 * 2 ** tries), context.closing.signal);
    }
  }
}

/** A fault must fit, whatever the limits are; one that does not is no message but a leak. */
const FAULT_BYTES = 64 * 1024;

type EndDraft = { readonly kind: "end" | "fail"; readonly json: string };

/** What is written of an end, and the end that this is: what cannot be written as JSON is a fault. */
export function draftOf(end: EndRecord, attempt: number, itemBytes: number): [EndDraft, EndRecord] {
  // The attempt is told when it was not the first: a state is made of the last event alone.
  const again = attempt > 1 ? { attempt } : {};
  try {
    const data = end.kind === "end" ? { result: end.value, ...again } : { ...end.fault.toJSON(), ...again };
    return [
      {
        kind: end.kind,
        json: end.kind === "end" ? toJson(data, itemBytes, "result") : toJson(data, FAULT_BYTES, "fault"),
      },
      end,
    ];
  } catch (thrown) {
    const fault = toFault(thrown);
    return [
      { kind: "fail", json: JSON.stringify({ ...fault.toJSON(), ...again }) },
      { kind: "fail", fault },
    ];
  }
}

/** Reads what `draftOf` has written. */
export function endOf(event: LogEvent): EndRecord {
  const data = JSON.parse(event.json) as { result?: unknown } & FaultJson;
  return event.kind === "end" ? { kind: "end", value: data.result } : { kind: "fail", fault: faultFromJson(data) };
}

/** Ends a call that runs nowhere in this process. False when it has its end already, or went on meanwhile. */
export async function endFrom(
  context: Context,
  store: Store,
  info: LogInfo,
  fault: Fault,
  options: { readonly attempt?: number; readonly after?: Cursor } = {},
): Promise<boolean> {
  const [draft] = draftOf({ kind: "fail", fault }, options.attempt ?? 1, context.limits.itemBytes);
  const { outcome } = await store.append(
    info.log,
    [draft],
    options.after === undefined ? {} : { after: options.after },
  );
  if (outcome !== "appended") return false;
  context.usage.add(info.labels["owner"] ?? "", utf8Bytes(draft.json));
  return true;
}

/** Nobody reads more items: whoever still sends some is told that the log has ended. */
export async function endInput(context: Context, store: Store, id: string, owner: string): Promise<void> {
  try {
    const { outcome } = await store.append(inputLog(id), [{ kind: "end", json: "{}" }]);
    if (outcome === "appended") context.usage.add(owner, 2);
  } catch {
    // The log is gone, or the store is: there is nothing left to end.
  }
}
