/** What the parts of the core share. Made once by `createCore`; nothing of it is global. */
import type { Authorize, Limits, Method, Principal, Topic } from "../contract/index.ts";
import { CALLS, TOPICS } from "../contract/index.ts";
import type { Cursor, Fault, LogInfo, Store } from "../log/index.ts";
import type { FoldCache } from "./fold.ts";
import type { Gate } from "./gate.ts";
import type { CoreMetrics, MethodMetrics } from "./metrics.ts";
import type { Logger, Retention } from "./options.ts";
import type { Run } from "./run.ts";
import type { Unwritten } from "./unwritten.ts";
import type { Usage } from "./usage.ts";

/** A method in service. */
export interface Entry {
  /** `service/method`. */
  readonly name: string;
  readonly method: Method;
  readonly metrics: MethodMetrics;
}

export interface TopicEntry {
  readonly name: string;
  readonly topic: Topic;
}

export interface Context {
  readonly store: Store;
  /** For methods with `recorded: "never"`. */
  readonly volatile: Store;
  readonly methods: ReadonlyMap<string, Entry>;
  readonly topics: ReadonlyMap<string, TopicEntry>;
  /** The name of a topic by the object that the user wrote, for `call.publish(topic, ...)`. */
  readonly topicNames: ReadonlyMap<Topic, string>;
  readonly authorize: Authorize | undefined;
  readonly limits: Limits;
  readonly retention: Retention;
  readonly gate: Gate;
  readonly usage: Usage;
  readonly unwritten: Unwritten;
  readonly folds: FoldCache;
  readonly metrics: CoreMetrics;
  readonly logger: Logger;
  readonly now: () => number;
  readonly random: () => number;
  /** The calls with a log that run in this process. */
  readonly runs: Map<string, Run>;
  /** The calls without a log that look at their signal: a set, because listeners on one signal are a list to search. */
  readonly directs: Set<{ stop(fault: Fault): void }>;
  /** Publishes to a topic on behalf of a principal. */
  readonly publish: (topic: string, event: unknown, owner: Principal, key: string | undefined) => Promise<Cursor>;
  /** Aborts, with the fault for the handlers, when the server ends. */
  readonly closing: AbortController;
}

/** Ids tell which store has the log: those of `recorded: "never"` begin with v. */
export function storeOf(context: Context, id: string): Store {
  return id.startsWith("v") ? context.volatile : context.store;
}

export const callLog = (id: string): string => CALLS + id;
export const inputLog = (id: string): string => `inputs/${id}`;
export const topicLog = (name: string): string => TOPICS + name;
export const foldLog = (log: string): string => `folds/${log}`;

export async function findLog(store: Store, log: string): Promise<LogInfo | undefined> {
  return (await store.list({ prefix: log, exact: true, limit: 1 })).logs[0];
}

/** Kept at the head of a call's log: all that is needed to start it again. Readers see only id, method and attempt. */
export interface OpenRecord {
  readonly id: string;
  readonly method: string;
  readonly attempt: number;
  readonly owner?: string;
  readonly input?: unknown;
  /** Of the input, where the caller gave a key. */
  readonly fingerprint?: string;
  readonly deadline?: number;
  readonly traceparent?: string;
  readonly tracestate?: string;
  readonly via?: string;
}

export type EndRecord =
  | { readonly kind: "end"; readonly value: unknown }
  | { readonly kind: "fail"; readonly fault: Fault };
