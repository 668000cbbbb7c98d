/** Machines without namespaces: what they are told, and what runs on them all the same. */
import { describe, expect, test } from "bun:test";
import { toFault } from "../src/log/index.ts";
import { chromiumPath } from "./browser.ts";
import type { Experiment, Verdict } from "./experiment.ts";
import { EXPERIMENTS } from "./experiments/index.ts";
import { loopback, OVER_LOOPBACK } from "./loopback.ts";
import { countedOf, runExperiment } from "./run.ts";

const NONE = { isAvailable: false, why: "this is a test", remedy: "run it elsewhere" } as const;
const signal = new AbortController().signal;
const named = (name: string): Experiment => EXPERIMENTS.find((each) => each.name === name)!;
const run = (experiment: Experiment, options = {}) =>
  runExperiment(experiment, { conditions: {}, signal, ...options }, NONE);

test.each(["https", "hol", "patterns", "layers", "migration"])(
  "%s needs the network: it says what loopback lacks, why there is no network, and the remedy",
  async (name) => {
    const fault = toFault(await run(named(name)).catch((thrown) => thrown));
    expect(fault).toMatchObject({
      code: "failed_precondition",
      message: expect.stringMatching(new RegExp(`^${name} needs an emulated network, as .+: this is a test$`)),
      hint: "run it elsewhere",
    });
  },
);

test("a program that is missing is named before anything starts", async () => {
  const experiment = { ...named("restart"), needs: ["no-such-program"] };
  const fault = toFault(await run(experiment).catch((thrown) => thrown));
  expect(fault).toMatchObject({
    code: "failed_precondition",
    message: "restart needs no-such-program, which is not installed",
  });
});

test("a variant that does not exist is named with those that do", () => {
  expect(run(named("nagle"), { variant: "fast" })).rejects.toThrow('nagle has no variant "fast": it has none');
});

describe("over loopback", () => {
  /** What is said of each line where there are no packets: its verdict, and what its programs counted. */
  const EXPECTED: Readonly<Record<string, readonly (readonly [name: string, verdict: Verdict, values: object])[]>> = {
    replay: [
      ["TCP, GET", "ok", { ran: 3 }],
      ["TCP, GET, 425 Too Early", "ok", { ran: 3 }],
      ["TCP, GET, single-use tickets", "ok", { ran: 1 }],
      ["TCP, POST", "ok", { ran: 3 }],
      ["TCP, POST, 425 Too Early", "ok", { ran: 1 }],
      ["TCP, POST, single-use tickets", "ok", { ran: 1 }],
    ],
    segments: [
      ["one write, late reader", "ok", { writes: 1, reads: 1 }],
      ["one write, reads of 4,096 bytes", "ok", { reads: 5 }],
      ["one write, eager reader", "refused", {}],
      ["20 writes, 20 ms apart", "ok", { writes: 20 }],
      ["TLS, one write", "ok", { reads: 2 }],
    ],
    nagle: [
      ["two writes", "ok", { segments: 2 }],
      ["two writes, TCP_NODELAY", "ok", { segments: 2 }],
      ["one write", "ok", { segments: 1 }],
    ],
    window: [
      ["reads at once", "ok", {}],
      ["reads after 3 s", "ok", {}],
    ],
    accept: [
      ["listen(0)", "ok", { tried: 5, admitted: 1 }],
      ["listen(4)", "ok", { tried: 9, admitted: 5 }],
      ["listen(16)", "ok", { tried: 21, admitted: 17 }],
      ["accepts one each 100 ms", "ok", { tried: 12, admitted: 12 }],
    ],
    blocking: [
      ["blocks the event loop", "refused", {}],
      ["yields every 5 ms", "refused", {}],
      ["in a thread", "refused", {}],
    ],
    restart: [
      ["raw TCP session", "ok", {}],
      ["plain HTTP, a request in flight", "ok", {}],
      ["login kept in memory", "ok", { saw: "status 401" }],
      ["login by a signed token", "ok", { lost: "nothing" }],
      ["login kept in a store", "ok", { lost: "nothing" }],
      ["Backtalk call", "ok", { lost: "nothing" }],
    ],
    idempotency: [
      ["POST without a key", "ok", { ran: 2, requests: 2, tries: 2, replayed: "no" }],
      ["POST with Idempotency-Key", "ok", { ran: 1, requests: 2, tries: 2, replayed: "yes" }],
      ["GET of a safe method", "ok", { ran: 2, requests: 2, tries: 2, replayed: "no" }],
    ],
    ...(chromiumPath() !== undefined && {
      pool: [
        ["HTTP/1.1", "ok", { arrived: 6 }],
        ["HTTP/2", "ok", { arrived: 7 }],
        ["HTTP/3", "ok", { arrived: 7 }],
      ],
    }),
  };

  test.skipIf(process.platform !== "linux").each(Object.keys(EXPECTED))(
    "%s says what its programs counted, and nothing else",
    async (name) => {
      const runs = { replay: 2, nagle: 10 }[name];
      const told = await run(named(name), { conditions: { rttMs: 80, ...(runs !== undefined && { runs }) } });
      expect(told.over).toBe("loopback");
      expect(told.conditions).toMatchObject({ rttMs: 0, loss: 0 });
      const { findings, columns, captures, check, notes, plots = [] } = told.findings;
      expect(findings.map(({ name, verdict }) => [name, verdict])).toEqual(
        EXPECTED[name]!.map(([name, verdict]) => [name, verdict]),
      );
      const keys = columns.map(({ key }) => key);
      for (const [index, line] of findings.entries()) {
        expect(line).toMatchObject({ values: EXPECTED[name]![index]![2] });
        expect(Object.keys(line.values).toSorted()).toEqual(keys.toSorted());
        for (const value of Object.values(line.values)) expect(value).not.toBeNaN();
        if (line.verdict === "refused") expect(line.why).toBe(OVER_LOOPBACK);
        expect([line.capture, line.counted]).toEqual([undefined, undefined]);
      }
      expect([captures, check]).toEqual([undefined, undefined]);
      for (const { series } of plots) expect(series.flatMap(({ points }) => points)).not.toBeEmpty();
      expect(notes?.at(-1)).toBe("Over loopback: this is a test; --rtt did nothing, as there is no link.");
    },
    60_000,
  );

  test("what only the kernel of Linux counts is not run elsewhere", () => {
    const elsewhere = { ...named("accept"), overLoopback: { columns: ["tried"], platform: "other" as "linux" } };
    expect(countedOf(elsewhere)).toContain("what the kernel of other counts");
    expect(countedOf(named("idempotency"))).toMatchObject({ columns: ["ran", "requests", "tries", "replayed"] });
  });

  test("there is no wire: what needs one says so, and nothing is captured", async () => {
    await using net = await loopback({ hosts: { client: {}, proxy: {}, server: {} } });
    const host = net.hosts["client"]!;
    expect(Object.keys(net.hosts)).toEqual(["client", "proxy", "server"]);
    expect(await net.capture()).toEqual([]);
    expect(net.refusal).toBe(OVER_LOOPBACK);
    await net.setDrops([]);
    const rule = { host: "server", of: "data", first: 1, last: 1 } as const;
    const nat = { type: "symmetric", outside: "10.9.0.1" } as const;
    for (const tried of [
      net.setDrops([rule]),
      host.cut(true),
      host.rebind(),
      host.setLinks({}),
      host.inject(new Uint8Array()),
      net.stats(),
      loopback({ drops: [rule] }),
      loopback({ hosts: { a: { nat } } }),
    ]) {
      expect(await tried.then(() => "", String)).toMatch(/loopback cannot .*: this needs an emulated network/);
    }
  });

  test("its programs end with it", async () => {
    const net = await loopback();
    const program = await net.hosts["server"]!.start(new URL("./wire/echo.ts", import.meta.url));
    await net.stop();
    expect(await program.ended).toBe(0);
  });
});
