/** A service of the studio's shape (examples/studio): a long job with progress, and a topic; its clock is the lab's. */

import { z } from "zod";
import { type HandlerCall, service, topic, unary } from "../../../src/index.ts";

/** The width that was made, and the name of the photo. */
const made = z.object({ step: z.string(), done: z.int(), of: z.int(), photo: z.string() });
export type Made = z.infer<typeof made>;

/** Tells each event when its time has come, then ends when the job is to end. */
export type Work = (say: (event: Made) => unknown) => Promise<readonly Made[]>;

export function studio(work: Work) {
  const photos = topic({ description: "every photo that was developed", event: made });
  return service("studio", {
    photos,
    develop: unary(
      {
        description: "a long job that tells how far it is, by its progress or to the topic",
        input: z.object({ publishes: z.boolean() }),
        output: z.object({ photos: z.array(made) }),
        progress: made,
        recorded: "always",
      },
      async ({ publishes }, call: HandlerCall<Made>) => {
        const photosMade = await work((event) => (publishes ? call.publish(photos, event) : call.progress(event)));
        return { photos: [...photosMade] };
      },
    ),
  });
}
