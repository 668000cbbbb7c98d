/** What judges from outside lies in a node_modules of its own: `npm ci --ignore-scripts` in this folder. */
import { existsSync } from "node:fs";
import { join } from "node:path";

/**
 * The path of a package's entry, or of a command; undefined when it is missing, which is told in a line, and fails in
 * CI: there a test that was left out would look like one that passed.
 */
export function installed(name: string): string | undefined {
  const command = join(import.meta.dir, "node_modules/.bin", name);
  if (existsSync(command)) return command;
  try {
    return Bun.resolveSync(name, import.meta.dir);
  } catch {
    const text = `${name} is not installed in suites/outside`;
    if (process.env["CI"] === "true") throw new Error(`${text}, and CI must not leave tests out`);
    console.log(`${text}: its tests are left out`);
    return undefined;
  }
}
