/** `backtalk contract`: what a service file promises, in the languages of others; and whether it keeps its promises. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Contract } from "../../src/contract/index.ts";
import { asyncapi } from "../../src/describe/asyncapi.ts";
import { openapi } from "../../src/describe/openapi.ts";
import { BACKTALK_FILE, BACKTALK_PROTO, type Break, type Draft, draftProto } from "../../src/describe/proto/index.ts";
import type { Args, Spec } from "../args.ts";
import { type CommandContext, command } from "../command.ts";
import { DEFECT, OK, UsageError } from "../exit.ts";
import { loadServices } from "../load.ts";
import { contractOf, pinPath, readPins, serviceNames } from "../pins.ts";
import { type Screen, shellWord } from "../screen.ts";
import { wrap } from "../table.ts";
import { versionOf } from "../version.ts";

const FORMATS = ["openapi", "asyncapi", "proto"] as const;
type Format = (typeof FORMATS)[number];

export const spec: Spec = {
  name: "contract",
  summary: "describe services for other tools, and check for breaks",
  positionals: [{ name: "FILE", what: "the file of the services" }],
  options: {
    format: { value: "FORMAT", what: `${FORMATS.join(", ")} (default openapi; with --out all)`, choices: FORMATS },
    out: { value: "DIR", what: "write the descriptions to files there" },
    write: { what: "pin: write NAME.proto beside FILE; numbers that are there are kept" },
    check: { what: "compare with the pinned NAME.proto beside FILE; exit code 1 when it breaks or is behind" },
    "allow-breaking": { what: "with --write: also changes that break callers" },
  },
  examples: [
    "backtalk contract service.ts",
    "backtalk contract service.ts --out dist/api",
    "backtalk contract service.ts --write",
    "backtalk contract service.ts --check",
  ],
  notes: [
    "Pinned numbers belong under version control. A removed field stays in the file as reserved, so that its number never means something else. `serve` refuses a contract that breaks its pins.",
    "Compared are methods, names, types, numbers and what may be absent. What narrows the values of an input (a bound, a value less in an enum) is not seen: give such an input a new name.",
    "The version in the descriptions is that of the nearest package.json.",
  ],
};

export async function run({ args, screen }: CommandContext): Promise<number> {
  checkOptions(args);
  const file = args.positionals[0]!;
  const contract = contractOf(await loadServices(file));
  const drafts = () => draftProto(contract, readPins(file, serviceNames(contract)));
  if (args.has("check")) return check(file, drafts(), screen);
  if (args.has("write")) return write(file, drafts(), args.has("allow-breaking"), screen);
  const format = args.text("format") as Format | undefined;
  const out = args.text("out");
  if (out !== undefined) return writeAll(out, format ? [format] : FORMATS, { file, contract, drafts }, screen);
  if (format !== "proto") {
    await screen.print(JSON.stringify(describe(format ?? "openapi", contract, file), null, 2));
    return OK;
  }
  const texts = [...drafts().values()].map(({ shown }) => shown);
  if (texts.length !== 1)
    throw new UsageError(`${file} has ${texts.length} services, each with a .proto file`, "give --out DIR");
  await screen.print(texts[0]!.trimEnd());
  return OK;
}

/** @throws UsageError */
function checkOptions(args: Args): void {
  const given = ["write", "check", "format", "out"].filter((name) => args.has(name));
  const alone = given.find((name) => name === "write" || name === "check");
  if (alone !== undefined && given.length > 1) {
    const other = given.find((name) => name !== alone);
    throw new UsageError(`--${alone} and --${other} cannot be used together`);
  }
  if (args.has("allow-breaking") && !args.has("write")) throw new UsageError("--allow-breaking goes with --write");
}

function describe(format: "openapi" | "asyncapi", contract: Contract, file: string): Record<string, unknown> {
  const title = [...serviceNames(contract)].join(", ");
  const options = { title, version: versionOf(file), isAnonymous: false };
  return format === "openapi" ? openapi(contract, options) : asyncapi(contract, { ...options, broker: {} });
}

async function writeAll(
  directory: string,
  formats: readonly Format[],
  { file, contract, drafts }: { file: string; contract: Contract; drafts: () => ReadonlyMap<string, Draft> },
  screen: Screen,
): Promise<number> {
  const files = new Map<string, string>();
  for (const format of formats) {
    if (format !== "proto")
      files.set(`${format}.json`, `${JSON.stringify(describe(format, contract, file), null, 2)}\n`);
    else {
      for (const [name, { shown }] of drafts()) files.set(`${name}.proto`, shown);
      files.set(BACKTALK_FILE, BACKTALK_PROTO);
    }
  }
  for (const [name, text] of files) await put(join(directory, name), text, screen);
  return OK;
}

async function check(file: string, drafts: ReadonlyMap<string, Draft>, screen: Screen): Promise<number> {
  const pins = readPins(file, drafts.keys());
  let isBehind = false;
  for (const name of drafts.keys()) {
    if (pins.has(name)) continue;
    isBehind = true;
    await screen.print(`${name}: nothing is pinned, there is no ${pinPath(file, name)}`);
  }
  const breaks = [...drafts.values()].flatMap((draft) => draft.breaks);
  await tell(breaks, screen);
  const additions = [...drafts.values()].flatMap((draft) => draft.additions);
  const outdated = [...drafts.values()].flatMap((draft) => draft.outdated);
  for (const each of [...additions.map((name) => `${name} is new and not pinned`), ...outdated])
    await screen.print(each);
  if (breaks.length > 0) {
    screen.explain([`${count(breaks)} for those who know the pinned contract; to accept: --write --allow-breaking`]);
    return DEFECT;
  }
  if (isBehind || additions.length > 0 || outdated.length > 0) {
    screen.explain([`nothing breaks, but the file is behind: ${command()} contract ${shellWord(file)} --write`]);
    return DEFECT;
  }
  screen.explain(["nothing breaks, and all is pinned"]);
  return OK;
}

async function write(
  file: string,
  drafts: ReadonlyMap<string, Draft>,
  allowsBreaking: boolean,
  screen: Screen,
): Promise<number> {
  const breaks = [...drafts.values()].flatMap((draft) => draft.breaks);
  await tell(breaks, screen);
  if (breaks.length > 0 && !allowsBreaking) {
    screen.explain([
      `nothing is written: ${count(breaks)} for those who know the pinned contract; --allow-breaking accepts it`,
    ]);
    return DEFECT;
  }
  for (const [name, { text }] of drafts) await put(pinPath(file, name), text, screen);
  return OK;
}

async function tell(breaks: readonly Break[], screen: Screen): Promise<void> {
  for (const { where, what, hint } of breaks) {
    const lines = [`${where} ${what}`, `  ${hint}`];
    await screen.printAll(screen.isTerminal ? lines.flatMap((line) => wrap(line, screen.width)) : lines);
  }
}

function count({ length }: readonly Break[]): string {
  return length === 1 ? "1 change breaks" : `${length} changes break`;
}

/** @throws UsageError */
async function put(path: string, text: string, screen: Screen): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  } catch (thrown) {
    throw new UsageError(`${path} cannot be written: ${(thrown as Error).message}`);
  }
  await screen.print(path);
}
