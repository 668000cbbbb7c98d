import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { Fault } from "../log/index.ts";
import { bidi, clientStream, serverStream, service, subscriber, topic, unary } from "./index.ts";

const any = z.object({});
/** As JavaScript calls them: the compiler has said nothing. */
const loose = (build: unknown) => build as (...given: unknown[]) => never;
const run = () => {};

function refusal(build: unknown, ...given: unknown[]): Fault {
  try {
    loose(build)(...given);
  } catch (thrown) {
    if (thrown instanceof Fault && thrown.code === "invalid_argument") return thrown;
    throw thrown;
  }
  throw new Error("it was taken");
}

describe("the options of a member", () => {
  test.each([
    [unary, [{ input: any, item: any }, run], 'unary needs "output" (there is "item")'],
    [unary, [{ output: any }, run], 'unary needs "input"'],
    [unary, [undefined, run], 'unary needs "input"'],
    [serverStream, [{ input: any, output: any }, run], 'serverStream needs "item" (there is "output")'],
    [clientStream, [{ input: any, item: any }, run], 'clientStream needs "output" (there is "item")'],
    [bidi, [{ input: any, output: any }, run], 'bidi needs "item" (there is "output")'],
    [topic, [{ schema: any }], 'topic needs "event" (there is "schema")'],
    [topic, [], 'topic needs "event"'],
    [unary, [{ input: { n: "number" }, output: any }, run], 'unary: "input" is not a schema'],
    [unary, [{ input: any, output: any, progress: 1 }, run], 'unary: "progress" is not a schema'],
    [unary, [{ input: any, output: any, deadline: 1 }, run], 'unary has no option "deadline"'],
    [unary, [{ input: any, output: any, fold: {} }, run], 'unary has no option "fold"'],
    [topic, [{ event: any, retain: { count: 3 } }], 'retain has no option "count"'],
    [subscriber, [topic({ event: any }), run, { attempts: 3 }], 'subscriber has no option "attempts"'],
    [subscriber, ["logins", run], "subscriber needs a topic and a handler"],
    [subscriber, [topic({ event: any })], "subscriber needs a topic and a handler"],
  ])("%p %j is refused", (build, given, message) => {
    const fault = refusal(build, ...given);
    expect(fault.message).toBe(message);
    expect(fault.hint).toMatch(/takes|give/);
  });

  test("all that the types have is taken", () => {
    const fold = { initial: 0, step: (state: number) => state + 1 };
    const every = {
      description: "d",
      recorded: "always",
      onRestart: "retry",
      maxAttempts: 2,
      onDisconnect: "cancel",
      deadlineMs: 5,
      queue: true,
    } as const;
    const events = topic({
      event: any,
      description: "d",
      retain: { events: 1, bytes: 1, ageMs: 1 },
      open: false,
      fold,
    });
    const made = service("all", {
      one: unary(
        { ...every, input: any, output: any, progress: any, safe: true, cacheControl: "no-store" },
        () => ({}),
      ),
      many: serverStream({ ...every, input: any, item: any, progress: any, fold }, () => []),
      up: clientStream({ input: any, output: any, progress: any }, () => ({})),
      both: bidi({ input: any, item: any, progress: any, fold }, async function* () {}),
      events,
      reader: subscriber(events, run, { description: "d", from: "now", maxAttempts: 1 }),
    });
    expect(Object.keys(made.members)).toHaveLength(6);
  });
});
