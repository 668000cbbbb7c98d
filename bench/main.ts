/**
 * `npm run bench [-- --quick] [-- --only NAME] [-- --json]`: measures Backtalk beside what the platform
 * itself can do and beside its neighbours, all on this machine, in one run. Ratios within one run mean
 * something; figures of different machines or runs do not compare.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Bench, Missing, type Section } from "./lib/bench.ts";
import { machine, versions } from "./lib/machine.ts";
import { cleanUpOnExit } from "./lib/proc.ts";
import { Servers } from "./lib/servers.ts";
import { printed, type Report, wrapped } from "./lib/table.ts";
import { amqp } from "./sections/amqp.ts";
import { fanout } from "./sections/fanout.ts";
import { latency } from "./sections/latency.ts";
import { memoryOfSubscribers } from "./sections/memory.ts";
import { peers } from "./sections/peers.ts";
import { recorded } from "./sections/recorded.ts";
import { restart } from "./sections/restart.ts";
import { size } from "./sections/size.ts";
import { unary } from "./sections/unary.ts";
import { upload } from "./sections/upload.ts";
import { ways } from "./sections/ways.ts";
import { wire } from "./sections/wire.ts";

const SECTIONS: readonly Section[] = [
  unary,
  peers,
  ways,
  recorded,
  fanout,
  latency,
  memoryOfSubscribers,
  restart,
  upload,
  amqp,
  size,
  wire,
];
const NAMES = SECTIONS.map(({ name }) => name).join(", ");
const USAGE = `npm run bench [-- OPTIONS]
  --quick      short rounds: shows that everything works; the figures are rough
  --only NAME  one section, or several separated by commas: ${NAMES}
  --json       the results as JSON on stdout instead of tables
  --help
The results are also written to bench/results/latest.json.`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const only = values.only?.split(",");
  const unknown = only?.find((name) => !SECTIONS.some((section) => section.name === name));
  if (unknown !== undefined) {
    console.error(`there is no section ${unknown}; there are: ${NAMES}`);
    return 2;
  }
  const dir = mkdtempSync(join(tmpdir(), "backtalk-bench-"));
  cleanUpOnExit(() => rmSync(dir, { recursive: true, force: true }));
  const say = (what: string) => console.error(`  ... ${what}`);
  const bench: Bench = {
    quick: values.quick,
    rounds: values.quick ? 2 : 5,
    seconds: values.quick ? 1 : 4,
    servers: new Servers(dir, say),
    dir,
    say,
  };
  const about = { date: new Date().toISOString(), machine: machine(), versions: await versions(), quick: values.quick };
  if (!values.json) console.log(headline(about));
  const sections: Record<string, Report | { error: string }> = {};
  let isWhole = true;
  for (const section of SECTIONS) {
    if (only && !only.includes(section.name)) continue;
    if (!values.json) console.error(`\n${section.title}`);
    const report = await runSection(section, bench);
    if ("error" in report && !report.isMissing) isWhole = false;
    sections[section.name] = report;
    if (!values.json) console.log("error" in report ? failed(section, report) : printed(section.title, report));
  }
  const results = JSON.stringify({ ...about, sections }, undefined, 1);
  mkdirSync(join(import.meta.dir, "results"), { recursive: true });
  await Bun.write(join(import.meta.dir, "results/latest.json"), `${results}\n`);
  if (values.json) console.log(results);
  return isWhole ? 0 : 1;
}

interface Failure {
  readonly error: string;
  readonly isMissing: boolean;
}

async function runSection(section: Section, bench: Bench): Promise<Report | Failure> {
  try {
    return await section.run(bench);
  } catch (thrown) {
    return { error: thrown instanceof Error ? thrown.message : String(thrown), isMissing: thrown instanceof Missing };
  } finally {
    await bench.servers.endAll();
  }
}

function failed({ title }: Section, { error, isMissing }: Failure): string {
  return printed(title, { tables: [], notes: [isMissing ? `not measured: ${error}` : `FAILED: ${error}`] });
}

function headline(about: {
  date: string;
  machine: ReturnType<typeof machine>;
  versions: Record<string, string>;
}): string {
  const { cpu, cores, memoryGiB, system } = about.machine;
  const names = Object.entries(about.versions).map(([name, version]) => `${name} ${version}`);
  return [
    "Backtalk benchmark: ratios within this run mean something; figures of different runs do not compare.",
    `${about.date}; ${cpu}, ${cores} cores, ${memoryGiB} GiB; ${system}`,
    ...wrapped(names.join("; "), ""),
  ].join("\n");
}

process.exit(await main());
