/**
 * The behaviour of every store. An implementation's test is one call of `runStoreSuite`, and what it names as
 * skipped, with the reason.
 */
import { describe, test } from "bun:test";
import type { Store } from "../../src/log/index.ts";
import { appendCases } from "./append.ts";
import { type Case, toolsOf } from "./case.ts";
import { followCases } from "./follow.ts";
import { listCases } from "./list.ts";
import { readCases } from "./read.ts";
import { trimCases } from "./trim.ts";

export const cases: readonly Case[] = [...appendCases, ...readCases, ...followCases, ...trimCases, ...listCases];

export interface StoreSuiteOptions {
  /** Names of cases, with the reason why this store does not keep them. */
  readonly skip?: Readonly<Record<string, string>>;
  /** Milliseconds for one case (default 20,000). */
  readonly timeout?: number;
}

/** @param open makes a new and empty store for each case */
export function runStoreSuite(name: string, open: () => Promise<Store>, options: StoreSuiteOptions = {}): void {
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
      test(
        one.name,
        async () => {
          const store = await open();
          try {
            await one.run(store, toolsOf(1));
          } finally {
            await store.close();
          }
        },
        options.timeout ?? 20_000,
      );
    }
  });
}
