import { describe, expect, test } from "bun:test";
import { installed } from "../../suites/outside/installed.ts";
import { documentOf } from "./document.ts";
import harSchema from "./har.schema.json";
import { harEntry, harOf, type Request } from "./har.ts";
import runSchema from "./run.schema.json";
import { madeCapture, madeLine, madeRun } from "./testing.ts";

const ajv = installed("ajv/dist/2020.js");

/** What the schema finds wrong. */
async function wrongIn(schema: object, value: unknown): Promise<unknown[]> {
  const { Ajv2020 } = (await import(ajv!)) as {
    Ajv2020: new (
      options: object,
    ) => { compile(schema: object): { (value: unknown): boolean; errors?: unknown[] | null } };
  };
  const validate = new Ajv2020({
    strict: true,
    allowUnionTypes: true,
    strictTuples: false,
    strictRequired: false,
    allErrors: true,
  }).compile(schema);
  // As a reader gets it.
  return validate(JSON.parse(JSON.stringify(value))) ? [] : validate.errors!;
}

describe.skipIf(ajv === undefined)("run.json is what its schema says", () => {
  const cases = {
    "a plain run": madeRun(),
    "a run of everything": madeRun(
      {
        check: { rttMs: 100.2, p99Ms: 101, answered: 50, sent: 50 },
        columns: [
          { key: "ms", title: "time", unit: "ms", what: "of one" },
          { key: "text", title: "text", unit: "text" },
        ],
        findings: [
          madeLine({ expected: "1 ms", source: "RFC 1 §2", explain: "so", capture: "made" }),
          madeLine({ name: "two", values: { ms: 3, text: "x" }, verdict: "failed" }),
        ],
        plots: [
          {
            title: "p",
            kind: "dots",
            x: { title: "x" },
            y: { title: "y", unit: "ms" },
            series: [{ name: "s", points: [[1, 2]] }],
          },
        ],
        captures: [madeCapture(3)],
        notes: ["a note"],
      },
      {
        variant: "other",
        conditions: {
          ...madeRun().conditions,
          loss: { toBad: 0.01, toGood: 0.25 },
          rateBps: 1e6,
          drops: [{ host: "server", of: "data", first: 3, last: 3 }],
        },
      },
    ),
    "a run without a number": madeRun({
      check: { rttMs: Number.NaN, p99Ms: Number.NaN, answered: 0, sent: 50 },
      findings: [madeLine({ values: { ms: Number.NaN } }), madeLine({ values: { ms: [] } }), madeLine({ values: {} })],
      plots: [
        {
          title: "p",
          kind: "lines",
          x: { title: "x" },
          y: { title: "y" },
          series: [{ name: "s", points: [[Number.NaN, 1]] }],
        },
      ],
    }),
    "a run that found nothing": madeRun({ columns: [], findings: [] }),
  };

  test.each(Object.entries(cases))("%s", async (_, run) => {
    expect(await wrongIn(runSchema, documentOf(run))).toEqual([]);
  });

  test("and nothing else", async () => {
    const good = documentOf(madeRun());
    for (const bad of [
      { ...good, schemaVersion: 2 },
      { ...good, verdict: "fine" },
      { ...good, findings: [{}] },
      { ...good, startedAt: "today" },
    ]) {
      expect(await wrongIn(runSchema, bad)).not.toEqual([]);
    }
  });
});

test("samples keep their order, their median and their range; no number is null", () => {
  const values = (given: number | readonly number[]) =>
    documentOf(madeRun({ findings: [madeLine({ values: { ms: given } })] })).findings[0]!.values["ms"];
  expect(values([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, samples: [3, 1, 2] });
  expect(values(7)).toEqual({ median: 7, min: 7, max: 7, samples: [7] });
  expect(values([Number.NaN, 5])).toEqual({ median: 5, min: 5, max: 5, samples: [5] });
  expect(values(Number.POSITIVE_INFINITY)).toBeNull();
});

test("the verdict of a run is its worst, and its captures are counted", () => {
  const verdictOf = (...verdicts: ("ok" | "failed" | "refused" | "none")[]) =>
    documentOf(madeRun({ findings: verdicts.map((verdict) => madeLine({ verdict })) })).verdict;
  expect([
    verdictOf("ok", "refused"),
    verdictOf("ok", "failed", "refused"),
    verdictOf("none", "ok"),
    verdictOf(),
  ]).toEqual(["refused", "failed", "ok", "none"]);
  const [capture] = documentOf(madeRun({ captures: [madeCapture(20)] }), ["a.pcapng"]).captures;
  expect(capture).toMatchObject({ file: "a.pcapng", packets: 45, dropped: 2 });
});

describe("HAR", () => {
  const request: Request = {
    startedAt: new Date(0),
    method: "GET",
    url: "https://server/x?a=1&b=%20",
    httpVersion: "h2",
    status: 200,
    responseHeaders: new Headers({ "content-type": "text/plain" }),
    phases: { dns: 1, connect: 50, tls: 100, send: 0.5, wait: 60, receive: 2 },
  };

  test.skipIf(ajv === undefined)("is what the schema of HAR 1.2 says", async () => {
    const reused = harEntry({ ...request, phases: { wait: 1, receive: 0 } });
    expect(await wrongIn(harSchema, harOf([harEntry(request), reused]))).toEqual([]);
    expect(await wrongIn(harSchema, harOf([{ ...reused, timings: {} }]))).not.toEqual([]);
  });

  test("has ssl inside connect, and counts it once", () => {
    const entry = harEntry(request) as {
      time: number;
      timings: Record<string, number>;
      request: { queryString: unknown };
    };
    expect(entry.timings).toEqual({ blocked: -1, dns: 1, connect: 150, ssl: 100, send: 0.5, wait: 60, receive: 2 });
    expect(entry.time).toBe(1 + 150 + 0.5 + 60 + 2);
    expect(entry.request.queryString).toEqual([
      { name: "a", value: "1" },
      { name: "b", value: " " },
    ]);
    expect((harEntry({ ...request, phases: { wait: 1, receive: 0 } }) as typeof entry).timings).toMatchObject({
      connect: -1,
      ssl: -1,
    });
  });
});
