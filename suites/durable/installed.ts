/** What is installed by `npm ci` in this folder: without it these tests are skipped, but not in CI. */

import { test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

export const FOLDER = import.meta.dir;
const isThere = existsSync(join(FOLDER, "node_modules/@durable-streams/client"));

/** `test`, or a skipped one that says what is missing; in CI it fails. */
export const testInstalled = isThere || process.env["CI"] ? test : test.skip;

if (!isThere)
  console.error("suites/durable: skipped without its packages; install them by: npm ci --prefix suites/durable");
