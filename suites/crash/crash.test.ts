/** The short version; `npm run soak` is the long one. CRASH_SEED=N repeats one. */
import { expect, test } from "bun:test";
import { runCrash } from "./run.ts";

const seed = Number(process.env["CRASH_SEED"] ?? Math.floor(Math.random() * 1e9));

test("no acknowledged event is lost, doubled or out of order when the server is killed again and again", async () => {
  try {
    const least = { kills: 2, calls: 100, breaks: 10 };
    const report = await runCrash({ seed, seconds: 4, least, calls: 50, lifeMs: [200, 1_000] });
    for (const [what, count] of Object.entries(least)) {
      expect(report[what as keyof typeof least], what).toBeGreaterThanOrEqual(count);
    }
  } catch (thrown) {
    throw new Error(`failed with CRASH_SEED=${seed}: ${(thrown as Error).message}`, { cause: thrown });
  }
}, 180_000);
