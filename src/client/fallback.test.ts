import { describe, expect, test } from "bun:test";
import {
  begin,
  chosen,
  FALLBACK,
  type FallbackEvent,
  type FallbackState,
  LADDER,
  next,
  type Transport,
} from "./fallback.ts";
import { seeded } from "./testing/tools.ts";

/** Short forms of events: what happened to the chosen transport, and when. */
type Step =
  | readonly ["connect" | "opened" | "failed" | "stalled", at: number]
  | readonly ["closed", at: number, lastedMs: number];

function run(state: FallbackState, steps: readonly Step[]): FallbackState {
  for (const [type, at, lastedMs] of steps) {
    const transport = chosen(state);
    state = next(state, { type, at, transport, ...(lastedMs !== undefined && { lastedMs }) } as FallbackEvent);
  }
  return state;
}

const short = (at: number): Step[] => [
  ["opened", at],
  ["closed", at, 10],
];
const toSse: Step[] = [["failed", 0]];
const toPoll: Step[] = [
  ["failed", 0],
  ["stalled", 0],
  ["stalled", 0],
];
const minute = FALLBACK.upgradeMs;

const table: readonly { readonly name: string; readonly steps: readonly Step[]; readonly gives: Transport }[] = [
  { name: "it begins with the best", steps: [], gives: "websocket" },
  { name: "a WebSocket that cannot be opened falls at once", steps: toSse, gives: "sse" },
  { name: "two short connections do not fall", steps: [...short(0), ...short(1)], gives: "websocket" },
  { name: "three short connections fall", steps: [...short(0), ...short(1), ...short(2)], gives: "sse" },
  {
    name: "a connection that lasts forgives the short ones",
    steps: [...short(0), ...short(1), ["opened", 2], ["closed", 2000, 1000], ...short(2001), ...short(2002)],
    gives: "websocket",
  },
  {
    name: "a WebSocket that has worked does not fall because the server restarts",
    steps: [
      ["opened", 0],
      ["closed", 9000, 9000],
      ["failed", 9100],
      ["failed", 9500],
    ],
    gives: "websocket",
  },
  {
    name: "a WebSocket that has worked falls when it cannot be opened three times",
    steps: [
      ["opened", 0],
      ["closed", 9000, 9000],
      ["failed", 9100],
      ["failed", 9500],
      ["failed", 9900],
    ],
    gives: "sse",
  },
  {
    name: "HTTP that fails too means that nothing reaches the server",
    steps: [...toSse, ["failed", 1]],
    gives: "websocket",
  },
  {
    name: "HTTP that has worked stays through an outage",
    steps: [...toSse, ["opened", 1], ["failed", 2]],
    gives: "sse",
  },
  { name: "a silent response falls at once", steps: [...toSse, ["stalled", 1]], gives: "long-poll" },
  {
    name: "three short responses fall",
    steps: [...toSse, ...short(1), ...short(2), ...short(3)],
    gives: "long-poll",
  },
  {
    name: "the last one stays",
    steps: [...toPoll, ...short(1), ...short(2), ...short(3), ["stalled", 4]],
    gives: "poll",
  },
  { name: "the better one is not tried too soon", steps: [...toSse, ["connect", minute - 1]], gives: "sse" },
  { name: "after a minute the better one is tried", steps: [...toSse, ["connect", minute]], gives: "websocket" },
  {
    name: "when that fails it falls back, for longer",
    steps: [...toSse, ["connect", minute], ["failed", minute], ["connect", 2 * minute]],
    gives: "sse",
  },
  {
    name: "and is tried again after twice the time",
    steps: [...toSse, ["connect", minute], ["failed", minute], ["connect", 3 * minute]],
    gives: "websocket",
  },
  { name: "it climbs one step at a time", steps: [...toPoll, ["connect", 9 * minute]], gives: "long-poll" },
  {
    name: "and goes on climbing while that holds",
    steps: [
      ...toPoll,
      ["connect", 20 * minute],
      ["opened", 20 * minute],
      ["connect", 40 * minute],
      ["connect", 60 * minute],
    ],
    gives: "websocket",
  },
];

describe("the fallback machine", () => {
  for (const { name, steps, gives } of table) {
    test(name, () => {
      expect(chosen(run(begin(), steps))).toBe(gives);
    });
  }

  test("states are never changed", () => {
    const state = Object.freeze(begin());
    const after = next(state, { type: "failed", transport: "websocket", at: 0 });
    expect(after).not.toBe(state);
    expect(chosen(state)).toBe("websocket");
  });

  test("what is told of another transport than the chosen one is ignored", () => {
    const state = run(begin(), toSse);
    for (const type of ["opened", "failed", "stalled"] as const) {
      expect(next(state, { type, transport: "websocket", at: 1 })).toBe(state);
    }
    expect(next(state, { type: "closed", transport: "poll", at: 1, lastedMs: 1 })).toBe(state);
  });

  test("a ladder of one never moves", () => {
    let state = begin(["sse"]);
    for (let i = 0; i < 10; i++) state = run(state, [...short(i), ["failed", i], ["stalled", i], ["connect", i * 1e9]]);
    expect(chosen(state)).toBe("sse");
  });

  test("the time to the next try has a cap", () => {
    let state = begin();
    for (let at = 0; at < 100 * FALLBACK.mostUpgradeMs; at += FALLBACK.mostUpgradeMs) {
      state = run(state, [
        ["connect", at],
        ["failed", at],
      ]);
    }
    expect(state.upgradeMs).toBe(FALLBACK.mostUpgradeMs);
  });

  test("by seed: whatever happens it stays on the ladder, and a better one is always tried again", () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = seeded(seed);
      const types = ["connect", "opened", "failed", "stalled", "closed"] as const;
      let state = begin();
      let at = 0;
      for (let i = 0; i < 100; i++) {
        at += random() * 30_000;
        const type = types[Math.floor(random() * types.length)]!;
        state = run(state, [type === "closed" ? [type, at, random() * 3000] : [type, at]]);
        expect(LADDER).toContain(chosen(state));
        expect(state.upgradeAt === undefined).toBe(state.rung === 0);
      }
    }
  });
});
