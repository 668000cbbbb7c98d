/** Folders for the files of a run, of which nothing is left: also when this process is killed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Scratch extends Disposable {
  readonly path: string;
}

/** Waits for the end of its input, which is that of its parent; twice, as what dies with the parent may still write. */
const GUARD = 'cat > /dev/null; rm -rf "$1"; sleep 1; rm -rf "$1"';

/** A folder in the one for temporary files, which a guard removes when this process ends without doing it. */
export function scratch(name: string): Scratch {
  const path = mkdtempSync(join(tmpdir(), `backtalk-${name}-`));
  // Detached: what the terminal sends to all of its processes is not for the guard.
  const guard = Bun.spawn(["sh", "-c", GUARD, "sh", path], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
    detached: true,
  });
  guard.unref();
  return {
    path,
    [Symbol.dispose]() {
      try {
        rmSync(path, { recursive: true, force: true });
        guard.kill("SIGKILL");
      } catch {
        // Somebody still writes in it: the guard tries again.
        guard.stdin.end();
      }
    },
  };
}
