/** Makes a checkout ready: the right Node, the dependencies of the lock file. Runs on Node alone. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findBun } from "./bun.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const NODE = 20;

/** Installs what is missing. Returns the path of Bun. Ends the process with a message when it cannot. */
export function setup() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < NODE) fail(`Node ${NODE} or newer is needed; this is ${process.version}.`, "See https://nodejs.org.");
  const here = fileURLToPath(import.meta.url);
  let bun = isInstalled() ? findBun(here) : undefined;
  if (bun) return bun;
  console.error("Setting up: npm install, by package-lock.json ...");
  const npm = process.env.npm_execpath?.endsWith(".js") ? [process.execPath, process.env.npm_execpath] : ["npm"];
  const [command, ...first] = npm;
  // Not `npm ci`, which removes what others may be running; --no-save leaves the lock file as it is.
  const args = [...first, "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
  // Not stdout: that is for what the command that is about to run prints.
  const isShell = process.platform === "win32" && first.length === 0;
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2], shell: isShell });
  if (status !== 0) {
    fail(
      `npm install failed${error ? `: ${error.message}` : ` with exit code ${status}`}.`,
      "Is the registry of npm reachable, and is there room on the disk? Then try again.",
    );
  }
  bun = findBun(here);
  if (!bun) {
    fail(
      `There is no Bun for ${process.platform} ${process.arch} in node_modules.`,
      "It comes as an optional dependency: do not install with --omit=optional.",
    );
  }
  return bun;
}

/** Whether node_modules has what the lock file says, by the list that npm keeps there. */
function isInstalled() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
    const present = JSON.parse(readFileSync(join(root, "node_modules", ".package-lock.json"), "utf8")).packages;
    return Object.entries(wanted).every(([path, { version, optional }]) => {
      return path === "" || optional || present[path]?.version === version;
    });
  } catch {
    return false;
  }
}

function fail(...lines) {
  for (const line of lines) console.error(line);
  process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(setup());
