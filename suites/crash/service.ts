/** The service of the crash test: what it says depends on its input only, so that it can be foretold. */
import { z } from "zod";
import { clientStream, type HandlerCall, serverStream, service, topic, unary } from "../../src/contract/index.ts";

const again = { onRestart: "retry", maxAttempts: 100_000 } as const;
const steps = z.object({ to: z.int(), everyMs: z.number() });
const notes = topic({
  event: z.object({ writer: z.string(), n: z.int() }),
  retain: { events: 10_000_000, bytes: 2 ** 40 },
});

export default service("crash", {
  count: serverStream(
    { input: steps, item: z.object({ n: z.int() }), ...again },
    async function* ({ to, everyMs }, call) {
      for (let n = await said(call, "item"); n < to; n++) {
        yield { n };
        await pause(everyMs, call.signal);
      }
    },
  ),
  /** Is not started again: after a crash it ends with a fault. */
  once: serverStream({ input: steps, item: z.object({ n: z.int() }) }, async function* ({ to, everyMs }, call) {
    for (let n = 0; n < to; n++) {
      yield { n };
      await pause(everyMs, call.signal);
    }
  }),
  job: unary(
    { input: steps, output: z.object({ done: z.int() }), progress: z.object({ n: z.int() }), ...again },
    async ({ to, everyMs }, call) => {
      for (let n = await said(call, "progress"); n < to; n++) {
        call.progress({ n });
        await pause(everyMs, call.signal);
      }
      return { done: to };
    },
  ),
  sum: clientStream(
    { input: z.int(), output: z.object({ sum: z.int(), items: z.int() }), ...again },
    async (numbers) => {
      let sum = 0;
      let items = 0;
      for await (const n of numbers) {
        sum += n;
        items++;
      }
      return { sum, items };
    },
  ),
  notes,
});

async function said(call: HandlerCall, what: "item" | "progress"): Promise<number> {
  let count = 0;
  for await (const { kind } of call.history()) if (kind === what) count++;
  return count;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal.addEventListener("abort", abort, { once: true });
  });
}
