/** What of a new file breaks those who know the old one: over RPC by numbers and types, over HTTP by names and presence. */
import { messagesOf } from "./messages.ts";
import {
  type Break,
  CURSOR_NUMBER,
  type ProtoField,
  type ProtoFile,
  type ProtoMessage,
  type ProtoRpc,
} from "./model.ts";

export interface Comparison {
  readonly breaks: readonly Break[];
  /** New fields and methods: their numbers are not pinned yet. */
  readonly additions: readonly string[];
  /** What the pinned file still says, and breaks nobody: `shop.OrderRequest.b was removed`. */
  readonly outdated: readonly string[];
}

export function compare(before: ProtoFile, after: ProtoFile): Comparison {
  const breaks: Break[] = [];
  const additions: string[] = [];
  const outdated: string[] = [];
  compareRpcs(before, after, breaks, additions, outdated);
  const messages = [messagesOf(before), messagesOf(after)] as const;
  const inputs = reached(
    messages[0],
    rpcsOf(before).map(({ input }) => input),
  );
  const outputs = reached(
    messages[0],
    rpcsOf(before).map(({ output }) => output),
  );
  for (const [path, message] of messages[1]) {
    const old = messages[0].get(path);
    if (!old) continue;
    const sides = { isInput: inputs.has(path), isOutput: outputs.has(path) };
    compareMessages(path, old, message, sides, breaks, additions, outdated);
  }
  return { breaks, additions, outdated };
}

function compareRpcs(
  before: ProtoFile,
  after: ProtoFile,
  breaks: Break[],
  additions: string[],
  outdated: string[],
): void {
  const now = new Map(rpcsOf(after).map((rpc) => [rpc.name, rpc]));
  for (const old of rpcsOf(before)) {
    const where = `${before.package}.${old.name}`;
    const rpc = now.get(old.name);
    now.delete(old.name);
    if (!rpc) {
      const isPublish = old.name.startsWith("Publish") && old.output === "backtalk.v1.PublishResponse";
      const hint = isPublish
        ? "keep the topic, and `open`"
        : "keep it, and let it fail with `unimplemented` when nobody is to use it";
      breaks.push({ where, what: "was removed", hint });
      continue;
    }
    if (kindOf(rpc) !== kindOf(old)) {
      breaks.push({
        where,
        what: `was ${kindOf(old)} and is ${kindOf(rpc)}`,
        hint: "give the new kind of method a new name, and keep the old one beside it",
      });
    }
    if (old.input !== rpc.input || old.output !== rpc.output) {
      breaks.push({
        where,
        what: `was ${signature(old)} and is ${signature(rpc)}`,
        hint: "give the new method another name: this one is taken by a topic or a method",
      });
    }
    if (old.isSafe && !rpc.isSafe) {
      breaks.push({ where, what: "is not `safe` any more: GET and QUERY stop working", hint: "keep `safe: true`" });
    }
    if (!old.isSafe && rpc.isSafe) outdated.push(`${where} is now \`safe\``);
  }
  for (const name of now.keys()) additions.push(`${after.package}.${name}`);
}

interface Sides {
  readonly isInput: boolean;
  readonly isOutput: boolean;
}

function compareMessages(
  path: string,
  before: ProtoMessage,
  after: ProtoMessage,
  sides: Sides,
  breaks: Break[],
  additions: string[],
  outdated: string[],
): void {
  const now = new Map(after.fields.filter(notCursor).map((field) => [field.jsonName, field]));
  for (const old of before.fields.filter(notCursor)) {
    const field = now.get(old.jsonName);
    now.delete(old.jsonName);
    const where = `${path}.${old.name}`;
    if (field) compareFields(where, old, field, sides, breaks, outdated);
    else if (sides.isOutput && old.label !== "optional") {
      breaks.push({
        where,
        what: `was always in what is answered, and ${JSON.stringify(old.jsonName)} is removed`,
        hint: "keep the property; an optional one can be removed, its number is then reserved",
      });
    } else outdated.push(`${where} was removed, and its number is not reserved`);
  }
  const taken = new Map(before.reserved.numbers.map((number) => [number, "reserved"]));
  for (const { name, number } of before.fields) taken.set(number, name);
  const reserved = new Set(before.reserved.names);
  for (const field of now.values()) {
    const where = `${path}.${field.name}`;
    const other = taken.get(field.number);
    if (other !== undefined) {
      breaks.push({
        where,
        what: `has the number ${field.number}, which is taken (${other})`,
        hint: "take another number",
      });
    } else if (reserved.has(field.name)) {
      breaks.push({
        where,
        what: "is a name that was removed and is reserved",
        hint: "give the property another name",
      });
    } else if (sides.isInput && field.label !== "optional") {
      breaks.push({
        where,
        what: `is new, and the input must have ${JSON.stringify(field.jsonName)}`,
        hint: "make the property optional, or give it a default",
      });
    } else additions.push(where);
  }
}

function compareFields(
  where: string,
  old: ProtoField,
  field: ProtoField,
  sides: Sides,
  breaks: Break[],
  outdated: string[],
): void {
  const known = breaks.length;
  if (typeText(old) !== typeText(field)) {
    breaks.push({
      where,
      what: `was ${typeText(old)} and is ${typeText(field)}`,
      hint: "keep the type, and add a property of another name for the new one",
    });
    return;
  }
  if (old.number !== field.number) {
    const hint = "numbers are what is sent: give it back the one it had";
    breaks.push({ where, what: `had the number ${old.number} and has ${field.number}`, hint });
  }
  if (old.name !== field.name) breaks.push({ where, what: `is now called ${field.name}`, hint: "keep its name" });
  const [was, is] = [old.label === "optional", field.label === "optional"];
  if (sides.isInput && was && !is) {
    breaks.push({
      where,
      what: `could be absent, and the input must have it`,
      hint: "keep the property optional, or give it a default",
    });
  }
  if (sides.isOutput && !was && is) {
    breaks.push({
      where,
      what: "was always in what is answered, and can be absent",
      hint: "keep the property required in the output",
    });
  }
  if (was !== is && breaks.length === known) outdated.push(`${where} is now ${is ? "optional" : "required"}`);
}

/** All messages that are used from these on. */
function reached(messages: ReadonlyMap<string, ProtoMessage>, from: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const open = [...from];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const message = messages.get(path);
    if (!message || seen.has(path)) continue;
    seen.add(path);
    open.push(...message.fields.map(({ type }) => type));
  }
  return seen;
}

function rpcsOf(file: ProtoFile): readonly ProtoRpc[] {
  return file.service?.rpcs ?? [];
}

function signature({ input, output }: ProtoRpc): string {
  return `(${input}) returns (${output})`;
}

function kindOf({ isClientStream, isServerStream }: ProtoRpc): string {
  if (isClientStream) return isServerStream ? "bidi" : "clientStream";
  return isServerStream ? "serverStream" : "unary";
}

function typeText({ label, type }: ProtoField): string {
  if (label === "map") return `map<string, ${type}>`;
  return label === "repeated" ? `repeated ${type}` : type;
}

function notCursor({ number }: ProtoField): boolean {
  return number !== CURSOR_NUMBER;
}
