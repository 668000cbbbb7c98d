/** The service of the tests with a broker: its handlers leave a line in a file for each effect. */
import { appendFileSync } from "node:fs";
import { z } from "zod";
import { serverStream, service, topic, unary } from "../../src/contract/index.ts";
import { Fault } from "../../src/log/index.ts";

/** Where effects are counted. */
const EFFECTS = process.env["BACKTALK_EFFECTS"] ?? "/dev/null";

export function effect(line: string): void {
  appendFileSync(EFFECTS, `${line}\n`);
}

const work = z.object({ name: z.string(), ms: z.number().optional() });
const notes = topic({ event: z.object({ text: z.string() }) });

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

export default service("shop", {
  echo: unary({ input: z.any(), output: z.any() }, (input) => input),
  /** Has its effect, which is counted. */
  once: unary({ input: work, output: z.string() }, async ({ name, ms = 0 }, call) => {
    effect(`once ${name} ${call.attempt}`);
    await wait(ms, call.signal);
    return name;
  }),
  count: serverStream({ input: z.object({ to: z.int() }), item: z.int() }, function* ({ to }) {
    for (let n = 1; n <= to; n++) yield n;
  }),
  sum: unary(
    { input: z.object({ a: z.number(), b: z.number() }), output: z.number(), safe: true },
    ({ a, b }) => a + b,
  ),
  notes,
  /** Not to be run twice. */
  charge: unary(
    { input: work, output: z.object({ name: z.string(), attempt: z.int() }), queue: true },
    async ({ name, ms = 0 }, call) => {
      effect(`charge ${name} ${call.attempt}`);
      await wait(ms, call.signal);
      effect(`charged ${name} ${call.attempt}`);
      return { name, attempt: call.attempt };
    },
  ),
  /** Goes on where an earlier attempt was. */
  render: serverStream(
    {
      input: z.object({ name: z.string(), frames: z.int(), ms: z.number() }),
      item: z.int(),
      progress: z.object({ of: z.int() }),
      queue: true,
      onRestart: "retry",
    },
    async function* ({ name, frames, ms }, call) {
      let said = 0;
      for await (const { kind } of call.history()) if (kind === "item") said++;
      effect(`render ${name} ${call.attempt} from ${said}`);
      call.progress({ of: frames });
      for (let n = said; n < frames; n++) {
        await wait(ms, call.signal);
        yield n;
      }
    },
  ),
  /** Ends the worker, each time. */
  poison: unary(
    { input: work, output: z.string(), queue: true, onRestart: "retry", maxAttempts: 2 },
    ({ name }, call) => {
      effect(`poison ${name} ${call.attempt}`);
      process.exit(66);
    },
  ),
  refuses: unary({ input: work, output: z.string(), queue: true }, ({ name }) => {
    throw new Fault("failed_precondition", `not ${name}`);
  }),
  announces: unary({ input: work, output: z.string(), queue: true }, async ({ name }, call) => {
    await call.publish(notes, { text: name });
    return String(call.id);
  }),
  stubborn: unary({ input: work, output: z.string(), queue: true }, async ({ name }, call) => {
    effect(`stubborn ${name}`);
    await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
    effect(`stopped ${name} ${(call.signal.reason as Fault).code}`);
    throw call.signal.reason;
  }),
});
