/** Durable Streams of the real program: what an idempotent producer writes is there once, whatever is killed. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Place, ROOT, type Server, STUDIO, serveIn } from "./testing.ts";

let place: Place;
let server: Server | undefined;

beforeEach(() => {
  place = new Place();
});

afterEach(async () => {
  server?.child.kill(9);
  await server?.child.exited;
  server = undefined;
  place.remove();
});

const SERVICE = `
import { service, topic } from ${JSON.stringify(join(ROOT, "src/index.ts"))};
const event = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
export default service("demo", { ticks: topic({ event }) });
`;

/** Undefined when the server is gone. */
async function post(url: string, seq: number): Promise<number | undefined> {
  const response = await fetch(url, {
    method: "POST",
    body: JSON.stringify([seq]),
    headers: {
      "content-type": "application/json",
      "producer-id": "writer",
      "producer-epoch": "0",
      "producer-seq": String(seq),
    },
  }).catch(() => undefined);
  return response?.status;
}

describe("kill -9 while a producer writes", () => {
  for (const [what, name] of [
    ["a topic", "ticks"],
    ["a stream of its own", "made/by/client"],
  ] as const) {
    test(`to ${what}: each event is there once, in order`, async () => {
      const file = await place.file("service.ts", SERVICE);
      let seq = 0;
      for (let round = 0; round < 4; round++) {
        server = await serveIn(place, file, ["--streams-create"]);
        const url = `${server.http}/streams/${name}`;
        await fetch(url, { method: "PUT", headers: { "content-type": "application/json" } });
        const { child } = server;
        const killed = Bun.sleep(100 + 70 * round).then(() => child.kill(9));
        // What was not answered is sent again, to the next server.
        for (;;) {
          const status = await post(url, seq);
          if (status === undefined) break;
          expect([200, 204]).toContain(status);
          seq++;
        }
        await Promise.all([killed, child.exited]);
      }
      server = await serveIn(place, file, ["--streams-create"]);
      expect([200, 204]).toContain((await post(`${server.http}/streams/${name}`, seq)) ?? 0);
      const all: unknown[] = [];
      for (let offset = "-1", isUpToDate = false; !isUpToDate; ) {
        const response = await fetch(`${server.http}/streams/${name}?offset=${offset}`);
        all.push(...((await response.json()) as unknown[]));
        offset = response.headers.get("stream-next-offset")!;
        isUpToDate = response.headers.has("stream-up-to-date");
      }
      expect(seq).toBeGreaterThan(20);
      expect(all).toEqual(Array.from({ length: seq + 1 }, (_, n) => n));
    }, 120_000);
  }
});

test("--streams-path, and no streams of clients without --streams-create", async () => {
  server = await serveIn(place, STUDIO, ["--streams-path", "/v1/stream"]);
  expect((await fetch(`${server.http}/v1/stream/photos`)).status).toBe(200);
  expect((await fetch(`${server.http}/v1/stream/x`, { method: "PUT" })).status).toBe(404);
  expect((await place.run(["serve", STUDIO, "--store", "memory:", "--streams-path", "streams"])).err).toContain(
    "not a path",
  );
});
