/** However a test with a broker ends, nothing of it stays: no process, no folder. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../transport/world.ts";
import { MARK, noBroker } from "./broker.ts";

const why = noBroker();
if (why) test.skip(`a broker that a test leaves (${why})`, () => {});
else {
  const folder = mkdtempSync(join(tmpdir(), "backtalk-holders-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const hold = (how: string) => {
    const home = mkdtempSync(join(folder, `${how}-`));
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "holder.ts"), how], {
      env: { ...process.env, TMPDIR: home },
      stdout: "pipe",
      stderr: "ignore",
      detached: true,
    });
    const up = async (): Promise<void> => {
      const { value } = await child.stdout.getReader().read();
      expect(new TextDecoder().decode(value)).toBe("up\n");
    };
    /** The names of the processes that are the broker's, or use it. */
    const names = (): string[] => namesOf(`${MARK}=${home}/`);
    const nothing = () => until(() => names().length === 0 && readdirSync(home).length === 0, "nothing to be left", 20);
    return { child, up, names, nothing };
  };

  describe("a broker is gone, with its folder and what uses it,", () => {
    test("when it is stopped, at once", async () => {
      const held = hold("stops");
      expect(await held.child.exited).toBe(0);
      expect(held.names()).toEqual([]);
      await held.nothing();
    }, 60_000);

    for (const how of ["throws", "exits"]) {
      test(`when the test ${how}`, async () => {
        const held = hold(how);
        await held.up();
        expect(await held.child.exited).toBeGreaterThan(0);
        await held.nothing();
      }, 60_000);
    }

    test("when the test is killed", async () => {
      const held = hold("waits");
      await held.up();
      // It would see nothing left if it saw nothing at all.
      for (const name of ["beam.smp", "epmd", "bun"]) {
        expect(held.names().some((each) => each.startsWith(name))).toBe(true);
      }
      held.child.kill("SIGKILL");
      await held.nothing();
    }, 60_000);

    test("when the test is killed while it starts", async () => {
      const held = hold("waits");
      await until(() => held.names().includes("beam.smp"), "the broker to start", 5);
      held.child.kill("SIGKILL");
      await held.nothing();
    }, 60_000);

    test("when all of the test's process group is killed", async () => {
      const held = hold("waits");
      await held.up();
      process.kill(-held.child.pid, "SIGKILL");
      await held.nothing();
    }, 60_000);
  });
}

function namesOf(mark: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const isMarked = readFileSync(`/proc/${pid}/environ`, "utf8")
          .split("\0")
          .some((each) => each.startsWith(mark));
        return isMarked ? [readFileSync(`/proc/${pid}/comm`, "utf8").trim()] : [];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}
