/** `backtalk lab`: runs experiments on an emulated network, and shows what each way costs. */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ladderOf } from "../../lab/capture/climb.ts";
import { ladderText } from "../../lab/capture/ladder-text.ts";
import type { Conditions } from "../../lab/conditions.ts";
import type { Experiment } from "../../lab/experiment.ts";
import { EXPERIMENTS } from "../../lab/experiments/index.ts";
import { compare, readRun } from "../../lab/report/compare.ts";
import { documentOf } from "../../lab/report/document.ts";
import { junitOf, junitOfError } from "../../lab/report/junit.ts";
import { layout } from "../../lab/report/layout.ts";
import { captureNames, prepareOut, writeOut } from "../../lab/report/out.ts";
import { type Explained, explained, headline, textTable } from "../../lab/report/text.ts";
import { countedOf, isGood, type Run, runExperiment } from "../../lab/run.ts";
import { parseBytes, parseDuration, parseLoss, parsePart, parseRate } from "../../lab/units.ts";
import { availability } from "../../lab/wire/availability.ts";
import { parseDrop } from "../../lab/wire/drops.ts";
import { type Args, type Spec, suggestion } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { comparisonLines } from "../comparison.ts";
import { DEFECT, OK, UsageError } from "../exit.ts";
import { table, wrap } from "../table.ts";

const CONGESTION = ["cubic", "bbr", "reno"] as const;

export const spec: Spec = {
  name: "lab",
  summary: "what each way costs, on an emulated network",
  positionals: [
    { name: "EXPERIMENT", what: "without it, the experiments are listed; or compare", optional: true },
    { name: "A", what: "of compare: the folder of --out, or a run.json", optional: true },
    { name: "B", what: "of compare: the later one", optional: true },
  ],
  options: {
    variant: { value: "NAME", what: "another way to run it; see its list" },
    rtt: { value: "TIME", what: "round trip between client and server, such as 100ms" },
    loss: { value: "PART", what: "of the packets, each way: 1%, or in bursts burst:1%:25%" },
    rate: { value: "RATE", what: "each way, such as 10mbit (default: no limit)" },
    jitter: { value: "TIME", what: "up to so much more delay for each packet" },
    queue: { value: "BYTES", what: "that wait for the rate; more are dropped" },
    reorder: { value: "PART", what: "of the packets overtakes the others" },
    duplicate: { value: "PART", what: "of the packets comes twice" },
    drop: { value: "RULE", what: "'server data 3' drops the third packet with data of the server", multiple: true },
    congestion: {
      value: "NAME",
      what: "control of TCP, and of QUIC by node:quic (default cubic)",
      choices: CONGESTION,
    },
    seed: { value: "N", what: "of all that is random (default 1)", number: { whole: true } },
    runs: { value: "N", what: "how often each way is tried", number: { min: 1, max: 1_000, whole: true } },
    explain: { what: "a paragraph and the clause of the standard for each line" },
    ladder: { what: "print the packets too, each in a line with what it is" },
    json: { what: "print the run as JSON; lab/report/run.schema.json describes it" },
    out: { value: "DIR", what: "write report.html, run.json, and the packets for Wireshark" },
    junit: { value: "FILE", what: "write the verdicts as JUnit XML" },
  },
  examples: [
    "backtalk lab",
    "backtalk lab nagle --explain",
    "backtalk lab https --rtt 100ms --out before",
    "backtalk lab compare before after",
  ],
  notes: [
    "Linux needs neither root nor tc nor Docker for it. Nothing is left behind.",
    "The exit code is 1 when a verdict is not as theory expects: it can run in CI.",
    "compare shows what changed from run A to run B; 1 when something fails that did not.",
  ],
};

export async function run(context: CommandContext): Promise<number> {
  const { args } = context;
  const [name, ...more] = args.positionals;
  if (name === undefined) return await list(context);
  if (name === "compare") return await compareRuns(context);
  if (more.length > 0)
    throw new UsageError(`too many arguments: ${JSON.stringify(more[0])}`, "one experiment at a time");
  const experiment = EXPERIMENTS.find((each) => each.name === name);
  if (!experiment) {
    const names = [...EXPERIMENTS.map((each) => each.name), "compare"];
    throw new UsageError(`there is no experiment ${name}`, suggestion(name, names, "see backtalk lab"));
  }
  return await one(context, experiment);
}

async function list({ args, screen }: CommandContext): Promise<number> {
  if (args.has("json")) {
    const all = EXPERIMENTS.map(({ name, title, question, variants = {} }) => ({ name, title, question, variants }));
    await screen.print(JSON.stringify(all));
    return OK;
  }
  const rows = EXPERIMENTS.map(({ name, question, variants = {} }) => {
    const others = Object.keys(variants);
    return [name, others.length === 0 ? question : `${question} Variants: ${others.join(", ")}.`];
  });
  await screen.printAll(table(["EXPERIMENT", "QUESTION"], rows, screen.style));
  const found = availability();
  if (found.isAvailable) return OK;
  const others = EXPERIMENTS.filter((each) => typeof countedOf(each) !== "string").map(({ name }) => name);
  screen.explain([
    `This machine has no emulated network: ${found.why}.`,
    `Remedy: ${found.remedy}.`,
    ...(others.length === 0 ? [] : [`Over loopback, as far as programs can count it: ${others.join(", ")}.`]),
  ]);
  return OK;
}

async function one({ args, screen, interrupt }: CommandContext, experiment: Experiment): Promise<number> {
  const conditions = conditionsOf(args);
  const [variant, out, junit] = [args.text("variant"), args.text("out"), args.text("junit")];
  // Before half a minute is spent.
  asUsage(() => {
    if (out !== undefined) prepareOut(out);
    if (junit !== undefined) prepareOut(dirname(junit));
  });
  const run = await runExperiment(experiment, {
    conditions,
    variant,
    signal: interrupt,
    progress: (text) => screen.status(() => `${experiment.name}: ${text}`),
  }).catch((thrown) => {
    screen.status(undefined);
    // What cannot be run here, or was asked for wrongly, is no defect.
    if (thrown instanceof RangeError) throw new UsageError(thrown.message);
    if (junit !== undefined) writeFileSync(junit, junitOfError(experiment.name, variant, thrown));
    throw thrown;
  });
  screen.status(undefined);
  const files = out === undefined ? [] : captureNames(run.findings.captures ?? []);
  if (args.has("json")) await screen.print(JSON.stringify(documentOf(run, files)));
  else await screen.printAll(linesOf(run, args, screen.style));
  if (junit !== undefined) writeFileSync(junit, junitOf(documentOf(run)));
  if (out !== undefined) {
    screen.status(() => `${experiment.name}: writing the report`);
    const [report, ...beside] = await writeOut(out, run);
    screen.status(undefined);
    // Experiments with a capture for each line have many.
    const few =
      files.length > 2 ? [...beside.filter((file) => !files.includes(file)), `${files.length} captures`] : beside;
    screen.explain([`${join(out, report!)} is written; beside it ${few.join(", ")}`]);
  }
  return isGood(run) ? OK : DEFECT;
}

async function compareRuns({ args, screen }: CommandContext): Promise<number> {
  const [, a, b] = args.positionals;
  if (a === undefined || b === undefined) {
    throw new UsageError(
      "compare needs two runs",
      "usage: backtalk lab compare A B, each a folder of --out or a run.json",
    );
  }
  const compared = asUsage(() => compare(readRun(a), readRun(b)));
  if (args.has("json")) await screen.print(JSON.stringify(compared));
  else await screen.printAll(comparisonLines(compared, a, b, screen.style));
  return compared.isWorse ? DEFECT : OK;
}

/** What was asked for wrongly is said without a stack. */
function asUsage<T>(act: () => T): T {
  try {
    return act();
  } catch (thrown) {
    if (thrown instanceof RangeError) throw new UsageError(thrown.message);
    throw thrown;
  }
}

function linesOf(run: Run, args: Args, style: CommandContext["screen"]["style"]): string[] {
  const { findings, notes = [], captures = [] } = run.findings;
  const told = args.has("explain") ? explained(findings).filter(({ explain }) => explain !== undefined) : [];
  return [
    ...wrap(style.bold(headline(run)), style.width),
    ...layout(textTable(run), style),
    ...told.flatMap((each) => ["", ...paragraph(each, style)]),
    ...(notes.length === 0 ? [] : [""]),
    ...notes.flatMap((note) => wrap(note, style.width)),
    ...(args.has("ladder")
      ? captures.flatMap((each) => ["", ...ladderText(ladderOf(each), { width: style.width })])
      : []),
  ];
}

function paragraph({ names, source, explain }: Explained, style: CommandContext["screen"]["style"]): string[] {
  return [
    ...wrap(names.join(" · "), style.width).map(style.bold),
    ...(source === undefined ? [] : wrap(source, style.width).map(style.dim)),
    ...wrap(explain!, Math.min(style.width, 100)),
  ];
}

/** @throws UsageError */
function conditionsOf(args: Args): Partial<Conditions> {
  const read = <T>(name: string, parse: (text: string) => T): T | undefined => {
    const text = args.text(name);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (thrown) {
      throw new UsageError(`--${name}: ${(thrown as Error).message}`);
    }
  };
  const drops = args.texts("drop").map((text) => {
    try {
      return parseDrop(text, ["client", "server"]);
    } catch (thrown) {
      throw new UsageError(`--drop: ${(thrown as Error).message}`);
    }
  });
  const given = {
    rttMs: read("rtt", parseDuration),
    loss: read("loss", parseLoss),
    rateBps: read("rate", parseRate),
    jitterMs: read("jitter", parseDuration),
    queueBytes: read("queue", parseBytes),
    reorder: read("reorder", parsePart),
    duplicate: read("duplicate", parsePart),
    congestion: args.text("congestion") as Conditions["congestion"] | undefined,
    seed: args.number("seed"),
    runs: args.number("runs"),
    drops: drops.length === 0 ? undefined : drops,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<Conditions>;
}
