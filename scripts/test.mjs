/**
 * `npm test`: sets up, checks types and lint, runs the tests. The last line is `N passed, N failed, N skipped`,
 * in which types and lint count as a test each. Arguments choose files by a part of their path.
 *
 * Each file runs in a process of its own, two at a time, with a time limit: a file that hangs or takes all
 * memory fails by its name and leaves the others alone. A file that failed, or that the machine was too busy to
 * judge, runs once more when nothing runs beside it; the second run counts, and what the first one said is shown
 * above the count. What failed comes last.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { check } from "./check.mjs";
import { setup } from "./setup.mjs";

const FILE_MS = 300_000;
/** Of a test that says no other: Bun's 5 s are soon over on a busy machine. */
const TEST_MS = 60_000;
/** These take longest: what begins first ends first. */
const FIRST = [
  "broker/crash",
  "durable/conformance",
  "experiments/https",
  "transports/http/transport",
  "experiments/hol",
  "suites/transport/failures",
  "suites/conformance",
  "cli/",
];

const root = fileURLToPath(new URL("..", import.meta.url));
const bun = setup();
const total = { passed: 0, failed: 0, skipped: 0 };
const chosen = process.argv.slice(2);

if (chosen.length === 0) {
  for (const { name, ok, output } of await check()) {
    if (!ok) console.error(output.trimEnd());
    console.log(`${ok ? "(pass)" : "(fail)"} ${name}`);
    total[ok ? "passed" : "failed"]++;
  }
}

const directory = mkdtempSync(join(tmpdir(), "backtalk-test-"));
const files = testFiles().filter((file) => chosen.length === 0 || chosen.some((part) => file.includes(part)));
const lanes = Math.max(1, Math.min(2, availableParallelism()));
const again = [];
await runAll(files, lanes, (file, run) => {
  if (run.failed > 0 || run.isUnjudged) again.push({ file, first: run });
  else add(run);
});
/** What is to be read comes last. */
const told = { unsteady: [], unjudged: [], failed: [] };
for (const { file, first } of again) {
  const run = await runFile(file);
  add(run);
  if (run.failed > 0) told.failed.push(`(fail) ${file}, twice:\n${failures(run.output)}`);
  else if (run.isUnjudged) told.unjudged.push(`(not judged) ${file}, twice: this machine is too busy`);
  else if (first.failed > 0) {
    told.unsteady.push(`(unsteady) ${file} passed at the second try. The first:\n${failures(first.output)}`);
  }
}
rmSync(directory, { recursive: true, force: true });
if (files.length === 0) {
  console.error(`no test file has ${chosen.join(" or ")} in its path`);
  total.failed++;
}
for (const text of Object.values(told).flat()) console.log(`\n${text}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);

async function runAll(list, width, done) {
  let next = 0;
  const lane = async () => {
    while (next < list.length) {
      const file = list[next++];
      done(file, await runFile(file));
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
}

function add(run) {
  for (const kind of Object.keys(total)) total[kind] += run[kind];
}

async function runFile(file) {
  const report = join(directory, `${file.replaceAll("/", "-")}.xml`);
  rmSync(report, { force: true });
  const began = performance.now();
  const { code, output } = await spawnTest(file, report);
  const counts = read(report);
  // A run that broke off (a crash, a file that cannot be loaded) has failed, whatever it had counted.
  const failed = Math.max(counts.failed, code === 0 ? 0 : 1);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const tests = counts.passed + counts.skipped + counts.failed;
  console.log(`${failed === 0 ? "(pass)" : "(fail)"} ${file}: ${tests} tests in ${seconds} s`);
  if (failed === 0) for (const line of notes(output)) console.log(`  ${line}`);
  return { ...counts, failed, output, isUnjudged: /^not judged/m.test(output) };
}

function notes(output) {
  const repeated = output.lastIndexOf(" tests skipped:");
  // Bun lists what was skipped a second time below its count.
  return output
    .slice(0, repeated < 0 ? undefined : repeated)
    .split("\n")
    .filter((line) => /^\(skip\)|^skipped:|not installed|^not judged/.test(line));
}

/** What failed and why, without the tests that passed. */
function failures(output) {
  const lines = output.split("\n").filter((line) => !/^\((pass|skip)\)/.test(line));
  return lines.slice(-400).join("\n").trim();
}

function spawnTest(file, report) {
  return new Promise((resolve) => {
    const args = ["test", `--timeout=${TEST_MS}`, "--reporter=junit", `--reporter-outfile=${report}`, `./${file}`];
    const child = spawn(bun, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const late = setTimeout(() => {
      output += `\nended after ${FILE_MS / 1000} s`;
      child.kill("SIGKILL");
    }, FILE_MS);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (piece) => {
        output += piece;
      });
    }
    child.on("error", (error) => {
      output += error.message;
    });
    // Not "close": a process that a test has left behind may hold the pipe open.
    child.on("exit", (code) => {
      clearTimeout(late);
      setTimeout(() => resolve({ code: code ?? 1, output }), 20);
    });
  });
}

function testFiles() {
  const found = [];
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (!/^(node_modules|dist|\..*)$/.test(entry.name)) walk(path);
      } else if (entry.name.endsWith(".test.ts")) found.push(relative(root, path));
    }
  };
  walk(root);
  const rank = (file) => (FIRST.findIndex((part) => file.includes(part)) + FIRST.length + 1) % (FIRST.length + 1);
  return found.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** The sums of the JUnit report are attributes of its root element. */
function read(path) {
  let xml = "";
  try {
    xml = readFileSync(path, "utf8");
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const element = /<testsuites\b[^>]*>/.exec(xml)?.[0] ?? "";
  const number = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(element)?.[1] ?? 0);
  const failed = number("failures") + number("errors");
  const skipped = number("skipped");
  return { passed: number("tests") - failed - skipped, failed, skipped };
}
