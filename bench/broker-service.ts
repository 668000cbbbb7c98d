/** The service that is measured through a broker. */
import { service, topic, unary } from "backtalk";
import { z } from "zod";
import { isPrime } from "./peers/shared.mjs";

const types = { input: z.object({ n: z.int() }), output: z.object({ prime: z.boolean() }) };
const answer = ({ n }: { n: number }) => ({ prime: isPrime(n) });
const event = z.object({ n: z.int(), text: z.string() });

export default service("bench", {
  /** Safe, so that a call is not recorded. */
  look: unary({ ...types, safe: true }, answer),
  /** A message names its call, so that it is recorded. */
  isPrime: unary({ ...types, recorded: "always" }, answer),
  /** Run by a worker. */
  job: unary({ ...types, queue: true }, answer),
  /** Joined with the broker, and not. */
  joined: topic({ event }),
  apart: topic({ event }),
});
