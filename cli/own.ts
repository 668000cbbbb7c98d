/** `.backtalk`, where a server keeps its database and its key when nobody says where: not for version control. */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/** Makes it, with a `.gitignore` that keeps all of it out of git; one that is there stays as it is. */
export function makeOwn(directory: string): void {
  if (basename(directory) !== ".backtalk") return;
  try {
    if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) {
      writeFileSync(join(directory, ".gitignore"), "*\n");
    }
  } catch {
    // What is to be written there next says what is wrong.
  }
}
