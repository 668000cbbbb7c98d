/**
 * `npm test`: sets up, checks types and lint, runs the tests. The last line is `N passed, N failed, N skipped`,
 * in which types and lint count as a test each. Arguments go to `bun test`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { check } from "./check.mjs";
import { setup } from "./setup.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const bun = setup();
const total = { passed: 0, failed: 0, skipped: 0 };

for (const { name, ok, output } of await check()) {
  if (!ok) console.error(output.trimEnd());
  console.log(`${ok ? "(pass)" : "(fail)"} ${name}`);
  total[ok ? "passed" : "failed"]++;
}
const directory = mkdtempSync(join(tmpdir(), "backtalk-test-"));
const report = join(directory, "junit.xml");
const args = ["test", "--reporter=junit", `--reporter-outfile=${report}`, ...process.argv.slice(2)];
const child = spawn(bun, args, { cwd: root, stdio: "inherit" });
const code = await new Promise((resolve) => {
  child.on("error", () => resolve(1));
  child.on("close", (code, signal) => resolve(signal === null ? code : 1));
});
const counts = read(report);
rmSync(directory, { recursive: true, force: true });
total.passed += counts.passed;
total.skipped += counts.skipped;
// A run that broke off (a crash, a file that cannot be loaded) has failed, whatever it had counted.
total.failed += Math.max(counts.failed, code === 0 ? 0 : 1);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);

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
