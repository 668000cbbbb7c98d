/** Machines without namespaces: what they are told, and what runs on them all the same. */
import { describe, expect, test } from "bun:test";
import { toFault } from "../src/log/index.ts";
import type { Experiment } from "./experiment.ts";
import { EXPERIMENTS } from "./experiments/index.ts";
import { loopback, OVER_LOOPBACK } from "./loopback.ts";
import { isGood, runExperiment } from "./run.ts";

const NONE = { isAvailable: false, why: "this is a test", remedy: "run it elsewhere" } as const;
const signal = new AbortController().signal;
const named = (name: string): Experiment => EXPERIMENTS.find((each) => each.name === name)!;
const run = (experiment: Experiment, options = {}) =>
  runExperiment(experiment, { conditions: {}, signal, ...options }, NONE);

test("an experiment that needs the network says why there is none, and the remedy", async () => {
  const fault = toFault(await run(named("nagle")).catch((thrown) => thrown));
  expect(fault).toMatchObject({
    code: "failed_precondition",
    message: "nagle needs an emulated network: this is a test",
    hint: "run it elsewhere",
  });
});

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
  test.each(["blocking", "restart"])(
    "%s runs, and judges nothing",
    async (name) => {
      const told = await run(named(name));
      expect(told.over).toBe("loopback");
      expect(isGood(told)).toBe(true);
      expect(told.findings.findings.length).toBeGreaterThan(2);
      for (const { verdict, why, capture } of told.findings.findings)
        expect([verdict, why, capture]).toEqual(["refused", OVER_LOOPBACK, undefined]);
      expect(told.findings.captures).toBeUndefined();
      expect(told.findings.check).toBeUndefined();
      expect(told.findings.notes?.at(-1)).toBe("Over loopback: this is a test.");
      // What programs saw is there.
      const [column] = told.findings.columns;
      for (const { values } of told.findings.findings) expect(values[column!.key]).toBeDefined();
    },
    60_000,
  );

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
