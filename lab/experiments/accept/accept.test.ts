import { describe, expect, test } from "bun:test";
import { addressBytes, PROTOCOL, put16 } from "../../../src/wire/packet/ip.ts";
import { hasNetwork, tryOut } from "../../testing.ts";
import type { Seen } from "../../wire/index.ts";
import { accept, admission, refusalOf, retryTimes, slowly, type Tried } from "./experiment.ts";
import { synsOf } from "./syns.ts";

test("nothing is judged where a handshake takes as long as the first retry", () => {
  expect(refusalOf({ rttMs: 200, jitterMs: 50 })).toBeUndefined();
  expect(refusalOf({ rttMs: 501, jitterMs: 0 })).toContain("at most");
});

test("the retries of a SYN double, after as many linear ones as the kernel has", () => {
  expect(retryTimes(0).slice(0, 4)).toEqual([1_000, 3_000, 7_000, 15_000]);
  expect(retryTimes(4).slice(0, 7)).toEqual([1_000, 2_000, 3_000, 4_000, 5_000, 7_000, 11_000]);
});

const PORT = 80;
const [SYN, ACK] = [2, 16];
const MS = 1e6;

/** A segment without data, 5 ms on the way, between the client's port and the server. */
function segment(atMs: number, port: number, flags: number, from: 0 | 1 = 0, isLost = false): Seen {
  const bytes = new Uint8Array(14 + 20 + 20);
  bytes.set([0x08, 0x00], 12);
  bytes.set([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, PROTOCOL.tcp], 14);
  bytes.set([...addressBytes(`10.0.0.${1 + from}`), ...addressBytes(`10.0.0.${2 - from}`)], 26);
  put16(bytes, 34, from === 0 ? port : PORT);
  put16(bytes, 36, from === 0 ? PORT : port);
  bytes.set([0x50, flags], 46);
  const at = atMs * MS;
  return {
    at,
    from,
    to: 1 - from,
    size: bytes.length,
    bytes,
    ...(isLost ? { drop: "loss" } : { leftAt: at + 5 * MS }),
  };
}

/** A handshake of 20 ms, from a port. */
const whole = (atMs: number, port: number) => [
  segment(atMs, port, SYN),
  segment(atMs + 6, port, SYN | ACK, 1),
  segment(atMs + 12, port, ACK),
];

describe("what the capture says of SYNs", () => {
  test("one that finds a full queue and is not answered is right, and one that finds room is not", () => {
    const full = [...whole(0, 1), ...whole(50, 2), segment(100, 3, SYN)];
    expect(synsOf(full, 1)).toMatchObject({ wrong: 0, lost: 0, refused: new Set([3]), answered: new Set([1, 2]) });
    expect(synsOf(full, 2).wrong).toBe(1);
    expect(synsOf(full, 0).wrong).toBe(1);
  });

  test("one that the wire has lost says nothing of the queue", () => {
    const seen = [...whole(0, 1), segment(50, 2, SYN, 0, true), ...whole(1_050, 2), segment(1_100, 3, SYN)];
    expect(synsOf(seen, 1)).toMatchObject({ wrong: 0, lost: 1, refused: new Set([3]) });
    expect(synsOf(seen, 1).sent.get(2)).toHaveLength(2);
  });

  test("a handshake whose last segment was lost does not fill the queue", () => {
    const half = [segment(0, 1, SYN), segment(6, 1, SYN | ACK, 1), segment(12, 1, ACK, 0, true)];
    expect(synsOf([...half, ...whole(50, 2)], 0).wrong).toBe(0);
    expect(synsOf([...half, segment(50, 2, SYN)], 0)).toMatchObject({ wrong: 1, lost: 1 });
  });

  test("farewells of connections that were there before fill no queue", () => {
    const late = [segment(0, 8, ACK), segment(0, 9, ACK | 4)];
    expect(synsOf([...late, ...whole(10, 1), ...whole(300, 2)], 1)).toMatchObject({
      wrong: 0,
      answered: new Set([1, 2]),
    });
  });

  test("one that is answered when it comes again was refused before", () => {
    const seen = [...whole(0, 1), segment(50, 2, SYN), ...whole(1_050, 2)];
    expect(synsOf(seen).refused).toEqual(new Set([2]));
    // A packet that came twice was sent once.
    expect(synsOf([segment(0, 1, SYN), ...whole(0, 1)], 1)).toMatchObject({ wrong: 0, refused: new Set() });
  });
});

describe("verdicts", () => {
  const sample = { at: 0, queued: 2, limit: 1, overflows: 1, drops: 1 };
  const connected = [1, 2].map((ms) => ({ ms, retries: 0 }));
  const tried: Tried = {
    count: 3,
    connected,
    samples: [sample],
    seen: [...whole(0, 1), ...whole(50, 2), segment(100, 3, SYN)],
    linear: 4,
  };
  const verdict = (changed: Partial<Tried>) => admission("listen(1)", 1, { ...tried, ...changed }).verdict;

  test("a kernel that admits as many as the capture shows is right, another one is not", () => {
    expect(verdict({})).toBe("ok");
    expect(verdict({ samples: [{ ...sample, queued: 1 }] })).toBe("failed");
    expect(verdict({ seen: [...whole(0, 1), ...whole(50, 2), ...whole(400, 3)] })).toBe("failed");
    expect(
      verdict({ samples: [{ ...sample, queued: 3 }], seen: [...whole(0, 1), ...whole(50, 2), ...whole(100, 3)] }),
    ).toBe("failed");
    // Close to the end of another handshake it may be the machine.
    expect(verdict({ seen: [...whole(0, 1), ...whole(50, 2), ...whole(100, 3)] })).toBe("refused");
    // Too few came through to fill it.
    const lost = [...whole(0, 1), segment(50, 2, SYN, 0, true), segment(60, 3, SYN, 0, true)];
    expect(verdict({ seen: lost, samples: [{ ...sample, queued: 1 }] })).toBe("refused");
    expect(verdict({ seen: [segment(0, 3, SYN), ...lost], samples: [{ ...sample, queued: 1 }] })).toBe("failed");
  });

  test("by the counts alone the client has what the server has", () => {
    const counted = (changed: Partial<Tried>) => admission("listen(1)", 1, { ...tried, ...changed, seen: [] }).counted;
    expect(counted({})).toMatchObject({ verdict: "ok", why: expect.stringContaining("2 in a queue of 1") });
    expect(counted({ connected: [...connected, ...connected] })).toMatchObject({ verdict: "failed" });
    expect(counted({ samples: [{ ...sample, queued: 3 }] })).toMatchObject({ verdict: "failed" });
  });

  test("a slow acceptor that nobody had to wait for is none", () => {
    const late = [...connected, { ms: 1_000, retries: 1 }];
    const slow = { ...tried, connected: late, seen: [...tried.seen, ...whole(1_100, 3)] };
    expect(slowly(slow, 100)).toMatchObject({ verdict: "ok", counted: { verdict: "ok" } });
    const quick = {
      ...tried,
      connected: [...connected, ...connected].slice(1),
      seen: [...whole(0, 1), ...whole(50, 2)],
    };
    expect(slowly(quick, 100)).toMatchObject({ verdict: "refused", counted: { verdict: "failed" } });
    expect(slowly({ ...slow, count: 4 }, 100)).toMatchObject({ verdict: "failed", counted: { verdict: "failed" } });
  });
});

test.skipIf(!hasNetwork("accept"))(
  "a backlog of b admits b + 1, and the rest try again by the kernel's clock",
  async () => {
    const { run, finding, isTooBusy } = await tryOut(accept);
    if (isTooBusy) return;
    for (const backlog of [0, 4, 16]) {
      expect(finding(`listen(${backlog})`)).toMatchObject({ verdict: "ok", values: { admitted: backlog + 1 } });
      expect(finding(`listen(${backlog})`).values["overflows"]).toBeGreaterThanOrEqual(4);
    }
    expect(finding("SYN retries")).toMatchObject({ verdict: "ok" });
    expect(finding("listen(4), all at once")).toMatchObject({ verdict: "ok" });
    expect(finding("accepts one each 100 ms")).toMatchObject({ verdict: "ok" });
    const limit = run.findings.plots![0]!.series[1]!.points.map(([, value]) => value);
    expect(new Set(limit)).toEqual(new Set([4]));
  },
  60_000,
);
