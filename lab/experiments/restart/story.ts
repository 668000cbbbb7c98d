/** The service of the restart: a stream that goes on where it was, when it is started again. */
import { z } from "zod";
import { serverStream, service } from "../../../src/index.ts";

export const ITEMS = 60;
export const EVERY_MS = 50;

export const story = storyOf(ITEMS, EVERY_MS);

export function storyOf(items: number, everyMs: number) {
  return service("story", {
    tell: serverStream(
      { input: z.object({}), item: z.object({ n: z.number() }), onRestart: "retry" },
      async function* (_, call) {
        let next = 0;
        for await (const { kind } of call.history()) if (kind === "item") next++;
        for (; next < items; next++) {
          yield { n: next };
          await new Promise((resolve) => setTimeout(resolve, everyMs));
        }
      },
    ),
  });
}
