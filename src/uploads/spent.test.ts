/** What is left of uploads whose calls have ended: it answers for a while, and does not add up. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { until } from "../../suites/transport/world.ts";
import { Lab } from "./testing.ts";

const MOST = 3;
let lab: Lab;
beforeAll(async () => {
  lab = await new Lab({ users: true, limits: { uploadsPerPrincipal: MOST } }).start();
});
afterAll(() => lab.close());

const fields = (user: string) => ({ "tus-resumable": "1.0.0", authorization: `Bearer ${user}` });

/** A file that starts a call; where the upload is. */
async function sent(user: string): Promise<string> {
  const response = await lab.fetch("/files/hash", {
    method: "POST",
    headers: { ...fields(user), "upload-length": "1", "content-type": "application/offset+octet-stream" },
    body: "x",
  });
  expect(response.status).toBe(201);
  return response.headers.get("location")!;
}

const statusOf = async (path: string, user: string) =>
  (await lab.fetch(path, { method: "HEAD", headers: fields(user) })).status;

test("each caller has as much of it as it may have uploads; then the oldest is forgotten", async () => {
  const other = await sent("bob");
  const paths: string[] = [];
  for (let i = 0; i < 3 * MOST; i++) {
    paths.push(await sent("ann"));
    const left = Math.min(i + 1, MOST) + 1;
    await until(() => lab.files().length === left && lab.files().every((name) => name.endsWith(".json")));
  }
  const statuses = () => Promise.all(paths.map((path) => statusOf(path, "ann")));
  const expected = paths.map((_, i) => (i < 2 * MOST ? 404 : 200));
  expect(await statuses()).toEqual(expected);
  expect(await statusOf(other, "bob")).toBe(200);
  await lab.restart();
  expect(await statuses()).toEqual(expected);
  await sent("ann");
  await until(() => lab.files().length === MOST + 1);
  expect(await statuses()).toEqual(expected.map((status, i) => (i === 2 * MOST ? 404 : status)));
  // Their calls are there as ever.
  const call = await lab.fetch(paths[0]!.replace("/uploads/u", "/calls/c"), { headers: fields("ann") });
  expect([call.status, ((await call.json()) as { state: string }).state]).toEqual([200, "done"]);
});
