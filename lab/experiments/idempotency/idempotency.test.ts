import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { idempotency } from "./experiment.ts";

test.skipIf(!hasNetwork("idempotency"))(
  "a retry doubles what has no key, and finds what has one",
  async () => {
    const { run, finding } = await tryOut(idempotency);
    expect(run.findings.findings.map(({ name, verdict, values }) => [name, verdict, values["ran"]])).toEqual([
      ["POST without a key", "ok", 2],
      ["POST with Idempotency-Key", "ok", 1],
      ["GET of a safe method", "ok", 2],
    ]);
    expect(finding("POST with Idempotency-Key").values).toMatchObject({ requests: 2, replayed: "yes" });
  },
  60_000,
);
