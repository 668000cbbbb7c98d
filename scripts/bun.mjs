/**
 * Finds the pinned Bun and runs a program with it. Runs on Node alone.
 *
 * The npm package `bun` puts the real binary in place by a postinstall script, which newer versions of npm and
 * `--ignore-scripts` do not run. So the binary is looked for in the package of the platform (`@oven/bun-*`),
 * which npm installs as an optional dependency.
 */
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The names of the platform's packages, the likeliest first. */
function packages() {
  const os = { darwin: "darwin", linux: "linux", win32: "windows", freebsd: "freebsd" }[process.platform];
  const cpu = { x64: "x64", arm64: "aarch64" }[process.arch];
  if (!os || !cpu) return [];
  const name = `@oven/bun-${os}-${cpu}`;
  if (os !== "linux") return [name];
  const isMusl = !process.report?.getReport()?.header?.glibcVersionRuntime;
  return isMusl ? [`${name}-musl`, name] : [name, `${name}-musl`];
}

/**
 * The path of the binary; undefined when the package is not installed.
 * @param {string} from a file of this package: dependencies are looked for from there upwards
 */
export function findBun(from) {
  const require = createRequire(from);
  const exe = process.platform === "win32" ? "bun.exe" : "bun";
  const roots = new Set();
  for (const name of packages()) {
    // Beside the package `bun` (pnpm keeps it there only), or beside this one.
    for (const start of [() => createRequire(require.resolve("bun/package.json")), () => require]) {
      try {
        roots.add(join(dirname(start().resolve(`${name}/package.json`)), "bin", exe));
      } catch {
        // Not there: the next place.
      }
    }
  }
  for (const path of roots) if (existsSync(path)) return path;
  try {
    // Moved there by the postinstall script. Before that it is a short text that says so.
    const path = join(dirname(require.resolve("bun/package.json")), "bin", "bun.exe");
    if (statSync(path).size > 1_000_000) return path;
  } catch {
    // Nothing more to try.
  }
  return undefined;
}

/**
 * Runs Bun in place of this process, as far as Node lets: same terminal, same signals, same exit.
 * @param {string} bun
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
export function runBun(bun, args, env = {}) {
  const child = spawn(bun, args, { stdio: "inherit", env: { ...process.env, ...env } });
  // Ctrl-C reaches both from the terminal; a signal to this process alone is passed on. The programs take two
  // that come together for one.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  // npm that is killed takes nobody with it: what it started ends when its parent is another one than before.
  const parent = process.ppid;
  const isOrphan = () => process.env.npm_lifecycle_event !== undefined && process.ppid !== parent;
  setInterval(() => isOrphan() && child.kill("SIGTERM"), 500).unref();
  child.on("error", (error) => {
    console.error(`Bun cannot be started: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    // Ended by a signal: this process ends by the same, so that whoever started it sees the truth.
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
