import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { conclude, migration, type Shown, shownOf } from "./experiment.ts";

test.skipIf(!hasNetwork("migration"))(
  "a connection of TCP dies with its port, one of QUIC and a call of Backtalk go on",
  async () => {
    const { run, finding } = await tryOut(migration);
    const [capture] = run.findings.captures!;
    expect(finding("TCP connection")).toMatchObject({
      verdict: "ok",
      values: { ports: 2 },
      why: expect.stringMatching(/reset by the server after \d+ ms.*the program saw ECONNRESET/),
    });
    expect(finding("QUIC connection")).toMatchObject({
      verdict: "ok",
      values: { ports: 2 },
      why: expect.stringMatching(/^1 handshake; PATH_CHALLENGE after \d+ ms, PATH_RESPONSE .*; the stream is whole$/),
    });
    const backtalk = finding("Backtalk call over SSE");
    // Of a server that stood still nothing was on the way, which the capture shows.
    if (backtalk.verdict === "refused") expect(backtalk.why).toStartWith("no data was on the way when the box forgot");
    else
      expect(backtalk).toMatchObject({ verdict: "ok", why: expect.stringMatching(/new connection.*every item once/) });
    // Without the keys nobody can say that the path was proven.
    const at = capture!.marks![0]!.at;
    expect(shownOf("quic", capture!.seen, at, capture!.keyLog!.split("\n")).challengeMs).toBeNumber();
    expect(shownOf("quic", capture!.seen, at, []).challengeMs).toBeUndefined();
  },
  60_000,
);

const SHOWN: Shown = {
  ports: [40_000, 40_001],
  resetMs: 80,
  shutOut: 3,
  opened: 1,
  challengeMs: 110,
  responseMs: 110,
  dataAfter: 9,
};
const whole = { at: [1, 2e8], isWhole: true };
const broken = { at: [1], isWhole: false, broke: { at: 2, how: "ECONNRESET" } };

test("words that the capture does not bear out are failures", () => {
  const verdict = (...args: Parameters<typeof conclude>) => conclude(...args).verdict;
  expect(verdict("tcp", broken, { ...SHOWN, opened: 0 }, 1e6)).toBe("ok");
  expect(verdict("tcp", broken, { ...SHOWN, opened: 0, resetMs: undefined }, 1e6)).toBe("failed");
  expect(verdict("tcp", whole, { ...SHOWN, opened: 0 }, 1e6)).toBe("failed");
  expect(verdict("quic", whole, SHOWN, 1e6)).toBe("ok");
  expect(verdict("quic", whole, { ...SHOWN, opened: 2 }, 1e6)).toBe("failed");
  expect(verdict("quic", whole, { ...SHOWN, ports: [40_000] }, 1e6)).toBe("failed");
  expect(verdict("quic", whole, { ...SHOWN, challengeMs: undefined }, 1e6)).toBe("failed");
  expect(verdict("quic", broken, SHOWN, 1e6)).toBe("failed");
  expect(verdict("backtalk", { ...whole, broke: broken.broke }, SHOWN, 1e6)).toBe("ok");
  expect(verdict("backtalk", { ...broken, isWhole: false }, SHOWN, 1e6)).toBe("failed");
  expect(verdict("backtalk", { at: [1], isWhole: false }, { ...SHOWN, resetMs: undefined, opened: 0 }, 1e6)).toBe(
    "refused",
  );
});
