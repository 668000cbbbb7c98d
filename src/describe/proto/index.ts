/**
 * Protocol Buffers of a contract (PROTOCOL.md §11.1): a file for each service, descriptors of all of them, and
 * codecs between the contract's JSON values and messages.
 */
import type { DescMethod, FileRegistry } from "@bufbuild/protobuf";
import type { Contract } from "../../contract/host.ts";
import type { Method } from "../../contract/service.ts";
import { Fault } from "../../log/fault.ts";
import { BACKTALK_FILE, BACKTALK_PROTO } from "./backtalk.ts";
import { buildService, type ServicePlan, servicesOf } from "./build.ts";
import { Codecs, type MessageCodec } from "./codec.ts";
import { compare } from "./compare.ts";
import { registryOf } from "./descriptors.ts";
import type { Break, ProtoFile } from "./model.ts";
import { parseProto } from "./parse.ts";
import { printProto } from "./print.ts";

export { BACKTALK_FILE, BACKTALK_PROTO } from "./backtalk.ts";
export type { MessageCodec } from "./codec.ts";
export { type Break, CURSOR_FIELD, CURSOR_NUMBER } from "./model.ts";

export interface RpcMethod {
  /** `studio/isPrime` */
  readonly address: string;
  readonly method: Method;
  readonly desc: DescMethod;
  readonly input: MessageCodec;
  readonly output: MessageCodec;
}

export interface RpcTopic {
  readonly topic: string;
  readonly subscribe: DescMethod;
  /** Undefined where clients may not publish. */
  readonly publish: DescMethod | undefined;
  readonly event: MessageCodec;
}

export interface ProtoDescription {
  /** By the name of the service: the text of its file. */
  readonly files: ReadonlyMap<string, string>;
  /** All files, `backtalk/v1/backtalk.proto` and what they import. */
  readonly registry: FileRegistry;
  /** By the path over RPC: `/studio.Studio/IsPrime`. */
  readonly methods: ReadonlyMap<string, RpcMethod>;
  /** By the path of `subscribe`. */
  readonly topics: ReadonlyMap<string, RpcTopic>;
  /** What has no pinned number yet, where there are pins. */
  readonly unpinned: readonly string[];
}

/**
 * Depth of messages that a JSON value of the deepest nesting needs, as a `google.protobuf.Value`: three
 * messages a level. For `binaryOptions` of whoever decodes; the default of most libraries is 100.
 */
export const RECURSION_LIMIT = 256;

/**
 * `pins`: the text of the pinned file by the name of the service.
 * @throws Fault `failed_precondition` when the contract breaks those who know the pins; `invalid_argument` for
 * pins that cannot be read
 */
export function describeProto(contract: Contract, pins: ReadonlyMap<string, string> = new Map()): ProtoDescription {
  const drafts = draftProto(contract, pins);
  const breaks = [...drafts.values()].flatMap((draft) => draft.breaks);
  if (breaks.length > 0) throw brokenPins(breaks);
  const files = new Map([[BACKTALK_FILE, parseProto(BACKTALK_PROTO, BACKTALK_FILE)]]);
  for (const [name, { plan }] of drafts) files.set(`${name}.proto`, plan.file);
  const registry = registryOf(files);
  const methods = new Map<string, RpcMethod>();
  const topics = new Map<string, RpcTopic>();
  for (const { plan } of drafts.values()) addService(plan, registry, methods, topics);
  return {
    files: new Map([...drafts].map(([name, { shown }]) => [name, shown])),
    registry,
    methods,
    topics,
    unpinned: [...drafts.values()].flatMap((draft) => draft.additions),
  };
}

/** A file as it would be written, and what stands against it. */
export interface Draft {
  readonly plan: ServicePlan;
  /** To be written beside the service, and pinned from then on. */
  readonly text: string;
  /** To be shown: while nothing is pinned it says so. */
  readonly shown: string;
  readonly breaks: readonly Break[];
  readonly additions: readonly string[];
  readonly outdated: readonly string[];
}

/** By the name of the service. @throws Fault for pins that cannot be read, and names that cannot be told apart */
export function draftProto(contract: Contract, pins: ReadonlyMap<string, string>): Map<string, Draft> {
  const drafts = new Map<string, Draft>();
  for (const [name, members] of servicesOf(contract)) {
    const pinned = pinsOf(name, pins.get(name));
    const plan = buildService(name, members, pinned);
    const compared = pinned ? compare(pinned, plan.file) : { breaks: [], additions: [], outdated: [] };
    const shown = printProto(plan.file, pinned !== undefined);
    drafts.set(name, { plan, text: printProto(plan.file, true), shown, ...compared });
  }
  return drafts;
}

function pinsOf(name: string, text: string | undefined): ProtoFile | undefined {
  if (text === undefined) return undefined;
  const file = parseProto(text, `${name}.proto`);
  if (file.package === name) return file;
  throw new Fault("invalid_argument", `${name}.proto is of the package ${file.package}, not ${name}`, {
    hint: `move it away, or make it ${file.package}.proto`,
  });
}

function brokenPins(breaks: readonly Break[]): Fault {
  const [first] = breaks;
  const more = breaks.length > 1 ? ` (and ${breaks.length - 1} more)` : "";
  return new Fault("failed_precondition", `the contract breaks its readers: ${first!.where} ${first!.what}${more}`, {
    hint: `${first!.hint}; all of them: backtalk contract FILE --check`,
    fields: breaks.map(({ where, what }) => ({ path: where, message: what })),
  });
}

function addService(
  plan: ServicePlan,
  registry: FileRegistry,
  methods: Map<string, RpcMethod>,
  topics: Map<string, RpcTopic>,
): void {
  const codecs = new Codecs(plan.plans, registry);
  const typeName = `${plan.file.package}.${plan.file.service!.name}`;
  const descs = new Map(registry.getService(typeName)!.methods.map((desc) => [desc.name, desc]));
  for (const { rpc, address, method, input, output } of plan.methods) {
    const codec = { input: codecs.of(input), output: codecs.of(output) };
    methods.set(`/${typeName}/${rpc}`, { address, method, desc: descs.get(rpc)!, ...codec });
  }
  for (const { topic, subscribe, publish, event } of plan.topics) {
    topics.set(`/${typeName}/${subscribe}`, {
      topic,
      subscribe: descs.get(subscribe)!,
      publish: publish === undefined ? undefined : descs.get(publish)!,
      event: codecs.of(event),
    });
  }
}
