/** Writes the one form of a file: the same contract and pins give the same text. */
import type { ProtoField, ProtoFile, ProtoMessage, ProtoRpc } from "./model.ts";
import { defaultJsonName } from "./names.ts";

const PINNED = [
  "// Written by `backtalk contract FILE --write`, which keeps the numbers of fields as they are here. Numbers and",
  "// names that are reserved are never used again: keep this file under version control, beside the service.",
];
const UNPINNED = [
  "// Nothing is pinned: numbers of fields follow the order of the contract, and change with it. To keep them, write",
  "// this file beside the service: backtalk contract FILE --write",
];

export function printProto(file: ProtoFile, isPinned: boolean): string {
  const lines = [...(isPinned ? PINNED : UNPINNED), 'syntax = "proto3";', "", `package ${file.package};`];
  if (file.imports.length > 0) lines.push("", ...file.imports.toSorted().map((each) => `import "${each}";`));
  if (file.service) {
    lines.push("", `service ${file.service.name} {`);
    for (const rpc of file.service.rpcs) lines.push(...printRpc(rpc, file.package));
    lines.push("}");
  }
  for (const message of file.messages) lines.push("", ...printMessage(message, file.package, ""));
  return `${lines.join("\n")}\n`;
}

function printRpc(rpc: ProtoRpc, of: string): string[] {
  const side = (type: string, isStream: boolean) => `(${isStream ? "stream " : ""}${relative(type, of)})`;
  const line = `  rpc ${rpc.name}${side(rpc.input, rpc.isClientStream)} returns ${side(rpc.output, rpc.isServerStream)}`;
  const comment = comments(rpc.comment, "  ");
  if (!rpc.isSafe) return [...comment, `${line};`];
  return [...comment, `${line} {`, "    option idempotency_level = NO_SIDE_EFFECTS;", "  }"];
}

function printMessage(message: ProtoMessage, scope: string, indent: string): string[] {
  const path = `${scope}.${message.name}`;
  const { numbers, names } = message.reserved;
  const inner = `${indent}  `;
  const body: string[] = [];
  if (numbers.length > 0) body.push(`${inner}reserved ${ranges(numbers)};`);
  if (names.length > 0) body.push(`${inner}reserved ${names.map((name) => JSON.stringify(name)).join(", ")};`);
  for (const field of message.fields) body.push(...printField(field, path, inner));
  for (const each of message.messages) body.push(...(body.length > 0 ? [""] : []), ...printMessage(each, path, inner));
  const head = [...comments(message.comment, indent), `${indent}message ${message.name} {`];
  if (body.length === 0) return [...head.slice(0, -1), `${head.at(-1)}}`];
  return [...head, ...body, `${indent}}`];
}

function printField(field: ProtoField, scope: string, indent: string): string[] {
  const type = relative(field.type, scope);
  const whole =
    field.label === "map" ? `map<string, ${type}>` : `${field.label === "required" ? "" : `${field.label} `}${type}`;
  const hasOwnJson = field.jsonName !== defaultJsonName(field.name);
  const json = hasOwnJson ? ` [json_name = ${JSON.stringify(field.jsonName)}]` : "";
  return [...comments(field.comment, indent), `${indent}${whole} ${field.name} = ${field.number}${json};`];
}

/** By the last word where the message is in this very scope; else without the package. */
function relative(type: string, scope: string): string {
  if (type.startsWith("google.") || !type.includes(".")) return type;
  if (type.startsWith(`${scope}.`) && !type.slice(scope.length + 1).includes(".")) return type.slice(scope.length + 1);
  const own = scope.split(".")[0]!;
  return type.startsWith(`${own}.`) ? type.slice(own.length + 1) : type;
}

function ranges(numbers: readonly number[]): string {
  const texts: string[] = [];
  const sorted = numbers.toSorted((a, b) => a - b);
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === sorted[end]! + 1) end++;
    texts.push(end === at ? String(sorted[at]) : `${sorted[at]} to ${sorted[end]}`);
    at = end + 1;
  }
  return texts.join(", ");
}

function comments(text: string | undefined, indent: string): string[] {
  if (text === undefined) return [];
  return text.split(/\r\n|[\n\r\u2028\u2029]/).map((line) => `${indent}// ${line}`.trimEnd());
}
