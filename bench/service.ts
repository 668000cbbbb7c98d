/** The service that is measured. */
import { service, topic, unary } from "backtalk";
import { z } from "zod";
import { isPrime } from "./peers/shared.mjs";

export default service("bench", {
  isPrime: unary({ input: z.object({ n: z.int() }), output: z.object({ prime: z.boolean() }) }, ({ n }) => ({
    prime: isPrime(n),
  })),
  /** Collects garbage, so that memory can be compared. */
  collect: unary({ input: z.object({}), output: z.object({}) }, () => {
    Bun.gc(true);
    return {};
  }),
  feed: topic({ event: z.object({ text: z.string(), at: z.number() }) }),
});
