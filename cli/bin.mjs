#!/usr/bin/env node
/** The command `backtalk` of the installed package: finds the Bun that came with it, and runs the CLI. */
import { fileURLToPath } from "node:url";
import { findBun, runBun } from "../scripts/bun.mjs";

const bun = findBun(fileURLToPath(import.meta.url));
if (!bun) {
  console.error(`There is no Bun for ${process.platform} ${process.arch} beside this package.`);
  console.error("It comes as an optional dependency: install again, without --omit=optional.");
  process.exit(1);
}
const BACKTALK_COMMAND = process.env.npm_command === "exec" ? "npx backtalk" : "backtalk";
runBun(bun, [fileURLToPath(new URL("main.ts", import.meta.url)), ...process.argv.slice(2)], { BACKTALK_COMMAND });
