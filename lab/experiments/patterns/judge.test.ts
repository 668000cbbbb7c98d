/** What needs no network: verdicts on forged measures, streams out of order, times of events. */
import { expect, test } from "bun:test";
import type { Connection, Segment } from "../../capture/segments.ts";
import { type Circumstances, judge, type Told } from "./judge.ts";
import { schedule } from "./schedule.ts";
import { Stream } from "./stream.ts";
import { type Follow, WAYS } from "./ways.ts";

const calm: Circumstances = {
  rttMs: 40,
  jitterMs: 0,
  isTls: false,
  refusal: undefined,
  spreadMs: 1,
  programsLateMs: 1,
};

function told(follow: Follow, { asks = 0, ...more }: Partial<Told> & { asks?: number } = {}): Told {
  const layers = { link: 0, ip: 0, tcp: 0, tls: 0, framing: 0, payload: 0 };
  const late = more.late ?? Array.from({ length: 20 }, () => 20.5);
  return {
    way: WAYS.find((way) => way.follow === follow)!,
    rate: { perSecond: 1, events: late.length },
    hasSign: true,
    measured: { packets: 0, acks: 0, bytes: 0, layers, asks },
    spanMs: 20_000,
    rest: late.map(() => 0),
    missing: 0,
    answers: late.length,
    disturbance: undefined,
    ...more,
    late,
  };
}

test("what is as theory has it is ok", () => {
  const spread = Array.from({ length: 20 }, (_, n) => 20 + (n + 0.5) * 52);
  expect(judge(told("sse"), calm).verdict).toBe("ok");
  expect(judge(told("poll", { asks: 19, late: spread }), calm).verdict).toBe("ok");
  expect(judge(told("long-poll", { asks: 21, late: spread.map((ms) => 20 + (ms % 40)) }), calm).verdict).toBe("ok");
  const rest = spread.map((_, n) => 20_000 - n * 1_000);
  expect(judge(told("wait", { asks: 1, rest, late: rest.map((ms) => ms + 21) }), calm).verdict).toBe("ok");
});

test("what is not fails, with what is wrong", () => {
  const problem = (forged: Told, at = calm) => {
    const judged = judge(forged, at);
    expect(judged.verdict).toBe("failed");
    return judged.problem;
  };
  expect(problem(told("sse", { asks: 5 }))).toBe("the client asked 5 times for 20 events: this is no push");
  expect(problem(told("sse", { missing: 2 }))).toBe("2 events are not in the capture");
  expect(problem(told("grpc", { hasSign: false }))).toContain("this is no gRPC stream");
  expect(problem(told("sse", { late: Array(20).fill(55) }))).toBe("100% of the events came later than 30 ms");
  expect(problem(told("sse", { late: [...Array(19).fill(20.5), 3] }))).toBe("1 events came sooner than can be");
  expect(problem(told("poll", { asks: 40 }))).toBe("the client asked 40 times in 20.0 s instead of 19");
  // Each as soon as if it had been pushed: no clock of a client does that.
  expect(problem(told("poll", { asks: 19 }))).toContain("21 ms in the mean, not 540");
  expect(problem(told("long-poll", { asks: 5 }))).toBe("the client asked 5 times for 20 answers");
  expect(problem(told("wait", { asks: 2 }))).toBe("the client asked 2 times instead of once");
  // Over TLS what HTTP/2 says of its windows looks like a request; twice an event it does not.
  expect(judge(told("grpc", { asks: 30 }), { ...calm, isTls: true }).verdict).toBe("ok");
  expect(problem(told("grpc", { asks: 50 }), { ...calm, isTls: true })).toContain("no push");
});

test("on a noisy link or a busy machine time is not judged, and counts are", () => {
  const late = told("sse", { late: Array(20).fill(55) });
  const busy = { ...calm, programsLateMs: 30 };
  expect(judge(late, busy)).toEqual({
    verdict: "refused",
    problem: "100% of the events came later than 30 ms; this machine is too busy: programs run 30 ms late",
  });
  expect(judge(late, { ...calm, spreadMs: 40 }).problem).toContain("the link is too noisy");
  expect(judge(told("sse"), busy).verdict).toBe("ok");
  const disturbance = "1 of its 40 packets were lost";
  expect(judge({ ...late, disturbance }, calm).problem).toEndWith(`; ${disturbance}`);
  expect(judge(told("long-poll", { asks: 5, disturbance }), calm).verdict).toBe("refused");
  const before = told("wait", { asks: 1, rest: Array(20).fill(5_000), disturbance });
  expect(judge(before, busy)).toEqual({ verdict: "failed", problem: "20 events came before the job had ended" });
  expect(judge(told("poll", { asks: 0, disturbance }), busy).verdict).toBe("failed");
  // No loss makes a client ask that does not, and what is not there was not delayed.
  expect(judge(told("sse", { asks: 5, disturbance }), calm).verdict).toBe("failed");
  expect(judge(told("long-poll", { missing: 1, disturbance }), calm).verdict).toBe("failed");
  expect(judge(told("sse"), { ...calm, refusal: "no echo came back" })).toEqual({
    verdict: "refused",
    problem: "no echo came back",
  });
  expect(judge(told("sse", { asks: 5 }), { ...busy, refusal: "no echo came back" }).verdict).toBe("failed");
});

test("bytes of a stream are sent once, and have come when nothing before them is missing", () => {
  // The second segment is lost and sent again; the third has come before it.
  const stream = new Stream(
    connection([
      { sequence: 1, text: "one ", at: 10, leftAt: 30 },
      { sequence: 5, text: "two ", at: 11 },
      { sequence: 9, text: "three", at: 12, leftAt: 32 },
      { sequence: 5, text: "two ", at: 50, leftAt: 70 },
    ]),
    true,
  );
  expect(stream.text).toBe("one two three");
  expect([0, 4, 12].map((place) => stream.sentAt(place))).toEqual([10, 11, 12]);
  expect([3, 4, 12].map((place) => stream.cameAt(place))).toEqual([30, 70, 70]);
  expect(stream.cameAt(13)).toBeNaN();
  expect(stream.newBytes({ from: 0, until: 100 })).toBe(13);
  expect(stream.newBytes({ from: 11, until: 11 })).toBe(4);
  expect(new Stream(connection([]), true).text).toBe("");
});

test("events come one in each period, spread evenly over its places, the same for a seed", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const times = schedule({ perSecond: 10, events: 40, afterMs: 500 }, seed);
    expect(times.map((ms) => Math.floor((ms - 500) / 100))).toEqual(times.map((_, n) => n));
    const places = times.map((ms) => Math.floor((((ms - 500) % 100) / 100) * 40)).toSorted((a, b) => a - b);
    expect(places).toEqual(times.map((_, n) => n));
    expect(schedule({ perSecond: 10, events: 40, afterMs: 500 }, seed)).toEqual(times);
  }
});

function connection(parts: readonly { sequence: number; text: string; at: number; leftAt?: number }[]): Connection {
  const segments = parts.map(({ sequence, text, at, leftAt }) => ({
    isOpener: true,
    sequence,
    tcp: { payload: new TextEncoder().encode(text) },
    seen: { at, ...(leftAt !== undefined && { leftAt }) },
  }));
  return { opener: "", other: "", segments: segments as unknown as Segment[] };
}
