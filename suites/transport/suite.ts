/**
 * The behaviour of every transport, seen through the client's `Peer`: the same cases for all. A transport's
 * test is one call of `runTransportSuite`, and what it names as skipped, with the reason.
 */
import { describe, test } from "bun:test";
import { toolsOf } from "../store/case.ts";
import type { Case } from "./case.ts";
import { policyCases } from "./policy.ts";
import { streamCases } from "./stream.ts";
import { topicCases } from "./topic.ts";
import { unaryCases } from "./unary.ts";
import { type Link, World } from "./world.ts";

export const cases: readonly Case[] = [...unaryCases, ...streamCases, ...topicCases, ...policyCases];

export interface TransportSuiteOptions {
  /** Names of cases, with the reason why this transport does not keep them. */
  readonly skip?: Readonly<Record<string, string>>;
  /** Milliseconds for one case (default 30,000). */
  readonly timeout?: number;
}

/** @param link makes a new transport for each case */
export function runTransportSuite(name: string, link: () => Link, options: TransportSuiteOptions = {}): void {
  const skip = options.skip ?? {};
  for (const unknown of Object.keys(skip)) {
    if (!cases.some((one) => one.name === unknown)) throw new Error(`no case "${unknown}" to skip`);
  }
  describe(name, () => {
    for (const one of cases) {
      const reason = skip[one.name];
      if (reason !== undefined) {
        test.skip(`${one.name} (${reason})`, () => {});
        continue;
      }
      const run = async (): Promise<void> => {
        const world = await new World(link(), one.options).start();
        try {
          await one.run(world, toolsOf(1));
        } finally {
          await world.close();
        }
      };
      test(one.name, run, one.timeout ?? options.timeout ?? 30_000);
    }
  });
}
