import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { restart } from "./experiment.ts";

test.skipIf(!hasNetwork("restart"))(
  "state in a process is lost with it; in a token, a store or a log it is not",
  async () => {
    const { run, finding } = await tryOut(restart);
    expect(run.findings.findings.map(({ name, verdict }) => [name, verdict])).toEqual([
      ["raw TCP session", "ok"],
      ["plain HTTP, a request in flight", "ok"],
      ["login kept in memory", "ok"],
      ["login by a signed token", "ok"],
      ["login kept in a store", "ok"],
      ["Backtalk call", "ok"],
    ]);
    expect(finding("Backtalk call").values["saw"]).toStartWith("60 items");
    // The wire agrees: the old connection was ended, and another one opened.
    expect(finding("Backtalk call").why).toMatch(/(RST|FIN) after \d+ ms.*, [1-9]\d* after/);
  },
  60_000,
);
