/** What is wrong with the options of a member, where no compiler has seen them: a type that was cast, or JavaScript. */
import { Fault } from "../log/fault.ts";
import type { MethodOptions, SubscriberOptions, TopicOptions } from "./service.ts";

// Of the types, so that an option that is added there is missing here for the compiler.
const METHOD: Record<keyof MethodOptions, true> = {
  description: true,
  safe: true,
  cacheControl: true,
  recorded: true,
  onRestart: true,
  maxAttempts: true,
  onDisconnect: true,
  deadlineMs: true,
  queue: true,
};
const TOPIC: Record<keyof TopicOptions, true> = { description: true, retain: true, open: true };
const RETAIN: Record<keyof NonNullable<TopicOptions["retain"]>, true> = { events: true, bytes: true, ageMs: true };
const SUBSCRIBER: Record<keyof SubscriberOptions, true> = { description: true, from: true, maxAttempts: true };

const METHOD_NAMES = Object.keys(METHOD);
/** By the name of the function: the schemas that it needs, and all that it takes. */
const BUILDERS = {
  unary: { schemas: ["input", "output"], names: [...METHOD_NAMES, "progress"] },
  serverStream: { schemas: ["input", "item"], names: [...METHOD_NAMES, "progress", "fold"] },
  clientStream: { schemas: ["input", "output"], names: [...METHOD_NAMES, "progress"] },
  bidi: { schemas: ["input", "item"], names: [...METHOD_NAMES, "progress", "fold"] },
  topic: { schemas: ["event"], names: [...Object.keys(TOPIC), "fold"] },
  subscriber: { schemas: [], names: Object.keys(SUBSCRIBER) },
} satisfies Record<string, { readonly schemas: readonly string[]; readonly names: readonly string[] }>;

/** @throws Fault `invalid_argument` for a schema that is missing and for an option that there is not */
export function checkOptions(builder: keyof typeof BUILDERS, options: unknown): void {
  const { schemas, names }: { schemas: readonly string[]; names: readonly string[] } = BUILDERS[builder];
  const given = (options ?? {}) as Readonly<Record<string, unknown>>;
  const known = [...schemas, ...names];
  const unknown = Object.keys(given).filter((name) => !known.includes(name));
  const hint = `${builder} takes ${known.join(", ")}`;
  for (const name of schemas) {
    if (given[name] !== undefined) continue;
    const there = unknown.length === 0 ? "" : ` (there is ${unknown.map((each) => JSON.stringify(each)).join(", ")})`;
    throw refusal(`${builder} needs "${name}"${there}`, hint);
  }
  for (const name of [...schemas, "progress"]) {
    if (given[name] === undefined || isSchema(given[name])) continue;
    throw refusal(`${builder}: "${name}" is not a schema`, SCHEMA_HINT);
  }
  if (unknown.length > 0) throw refusal(`${builder} has no option ${JSON.stringify(unknown[0])}`, hint);
  const retain = builder === "topic" ? given["retain"] : undefined;
  const odd = Object.keys((retain ?? {}) as object).find((name) => !(name in RETAIN));
  if (odd !== undefined)
    throw refusal(`retain has no option ${JSON.stringify(odd)}`, `retain takes ${Object.keys(RETAIN).join(", ")}`);
}

const SCHEMA_HINT = "give a schema of a library that speaks Standard Schema, such as z.object({ ... }) of zod";

/** https://standardschema.dev: an object, or a function (ArkType). */
function isSchema(value: unknown): boolean {
  return (typeof value === "object" || typeof value === "function") && value !== null && "~standard" in value;
}

function refusal(message: string, hint: string): Fault {
  return new Fault("invalid_argument", message, { hint });
}
