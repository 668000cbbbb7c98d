/** `npm run check`: types and lint, both at once. Ends with 1 when one of them finds something. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setup } from "./setup.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** @returns {Promise<{ name: string, ok: boolean, output: string }[]>} */
export function check() {
  return Promise.all([
    run("typecheck", "typescript/bin/tsc", ["--noEmit", "--pretty", "false"]),
    run("lint", "@biomejs/biome/bin/biome", ["check", "--error-on-warnings", "--colors=off", "."]),
  ]);
}

function run(name, script, args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, "node_modules", script), ...args], { cwd: root });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (piece) => {
        output += piece;
      });
    }
    child.on("error", (error) => resolve({ name, ok: false, output: error.message }));
    child.on("close", (code) => resolve({ name, ok: code === 0, output }));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  setup();
  const began = performance.now();
  const results = await check();
  for (const { name, ok, output } of results) {
    if (!ok) console.error(output.trimEnd());
    console.log(`${name}: ${ok ? "ok" : "failed"}`);
  }
  console.log(`in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  process.exit(results.every(({ ok }) => ok) ? 0 : 1);
}
