/** `backtalk lab`: runs experiments on an emulated network, and shows what each way costs. */
import type { Conditions } from "../../lab/conditions.ts";
import type { Experiment } from "../../lab/experiment.ts";
import { EXPERIMENTS } from "../../lab/experiments/index.ts";
import { headline, textTable } from "../../lab/report/text.ts";
import { isGood, type Run, runExperiment } from "../../lab/run.ts";
import { parseBytes, parseDuration, parseLoss, parsePart, parseRate } from "../../lab/units.ts";
import { availability } from "../../lab/wire/availability.ts";
import { parseDrop } from "../../lab/wire/drops.ts";
import { type Args, type Spec, suggestion } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { DEFECT, OK, UsageError } from "../exit.ts";
import { labelled, table, wrap } from "../table.ts";

const CONGESTION = ["cubic", "bbr", "reno"] as const;

export const spec: Spec = {
  name: "lab",
  summary: "run every way of communicating on an emulated network, and show what it costs",
  positionals: [{ name: "EXPERIMENT", what: "without it, the experiments are listed", optional: true }],
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
    congestion: { value: "NAME", what: "control of TCP and QUIC (default cubic)", choices: CONGESTION },
    seed: { value: "N", what: "of all that is random (default 1)", number: { whole: true } },
    runs: { value: "N", what: "how often each way is tried", number: { min: 1, max: 1_000, whole: true } },
    explain: { what: "a paragraph and the clause of the standard for each line" },
    json: { what: "print the run as JSON" },
  },
  examples: ["backtalk lab", "backtalk lab nagle", "backtalk lab https --rtt 100ms --explain"],
  notes: [
    "Linux needs neither root nor tc nor Docker for it. Nothing is left behind.",
    "The exit code is 1 when a verdict is not as theory expects: it can run in CI.",
  ],
};

export async function run(context: CommandContext): Promise<number> {
  const { args } = context;
  const [name] = args.positionals;
  if (name === undefined) return await list(context);
  const experiment = EXPERIMENTS.find((each) => each.name === name);
  if (!experiment) {
    const names = EXPERIMENTS.map((each) => each.name);
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
  const rows = EXPERIMENTS.map(({ name, question }) => [name, question]);
  await screen.printAll(table(["EXPERIMENT", "QUESTION"], rows, screen.style));
  const found = availability();
  if (!found.isAvailable) screen.explain([`This machine has no emulated network: ${found.why}`, found.remedy]);
  return OK;
}

async function one({ args, screen, interrupt }: CommandContext, experiment: Experiment): Promise<number> {
  const conditions = conditionsOf(args);
  const run = await runExperiment(experiment, {
    conditions,
    variant: args.text("variant"),
    signal: interrupt,
    progress: (text) => screen.status(() => `${experiment.name}: ${text}`),
  }).catch((thrown) => {
    // What cannot be run here, or was asked for wrongly, is no defect.
    if (thrown instanceof RangeError) throw new UsageError(thrown.message);
    throw thrown;
  });
  screen.status(undefined);
  if (args.has("json")) await screen.print(JSON.stringify(withoutPackets(run)));
  else await screen.printAll(linesOf(run, args.has("explain"), screen.style));
  return isGood(run) ? OK : DEFECT;
}

function linesOf(run: Run, isExplained: boolean, style: CommandContext["screen"]["style"]): string[] {
  const { header, rows } = textTable(run);
  const { findings, notes = [] } = run.findings;
  const explained = findings.filter(({ explain }) => explain !== undefined);
  return [
    ...wrap(style.bold(headline(run)), style.width),
    ...table(header, rows, style),
    ...(isExplained ? explained.flatMap((each) => ["", ...paragraph(each, style)]) : []),
    ...(notes.length === 0 ? [] : [""]),
    ...notes.flatMap((note) => wrap(note, style.width)),
  ];
}

function paragraph(finding: Run["findings"]["findings"][number], style: CommandContext["screen"]["style"]): string[] {
  const { name, source, explain } = finding;
  return [
    style.bold(name) + (source === undefined ? "" : style.dim(`  ${source}`)),
    ...labelled("", explain!, style, 0).map((line) => line.trim()),
  ];
}

/** Packets are for the files. */
function withoutPackets(run: Run): object {
  const { captures: _, ...findings } = run.findings;
  return { ...run, findings };
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
