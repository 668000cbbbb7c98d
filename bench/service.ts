/** The service that is measured. */
import { serverStream, service, topic, unary } from "backtalk";
import { z } from "zod";
import { isPrime, TEXT } from "./peers/shared.mjs";

export default service("bench", {
  isPrime: unary({ input: z.object({ n: z.int() }), output: z.object({ prime: z.boolean() }) }, ({ n }) => ({
    prime: isPrime(n),
  })),
  /** Not recorded, as the streams of the neighbours are not. */
  count: serverStream(
    { input: z.object({ to: z.int() }), item: z.object({ n: z.int(), text: z.string() }), recorded: "never" },
    function* ({ to }) {
      for (let n = 0; n < to; n++) yield { n, text: TEXT };
    },
  ),
  /** Collects garbage, so that memory can be compared. */
  collect: unary({ input: z.object({}), output: z.object({}) }, () => {
    Bun.gc(true);
    return {};
  }),
  feed: topic({ event: z.object({ text: z.string(), at: z.number() }) }),
});
