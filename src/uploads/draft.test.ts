/** draft-ietf-httpbis-resumable-upload (interop version 8), clause by clause, by a client made by hand. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { until } from "../../suites/transport/world.ts";
import { bytesOf, jpegOf, Lab, MiB, sha256 } from "./testing.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await new Lab({
    limits: { uploadBytes: 8 * MiB, uploadBytesTotal: 8 * MiB, uploadMs: 60_000 },
    users: true,
  }).start();
});
afterAll(() => lab.close());
afterEach(async () => {
  lab.ahead += 61_000;
  await lab.restart();
  expect(lab.files()).toEqual([]);
});

type Fields = Record<string, string>;
const PARTIAL = "application/partial-upload";
const IANA = "https://iana.org/assignments/http-problem-types#";

function ask(method: string, path: string, headers: Fields = {}, body?: BodyInit): Promise<Response> {
  const version = { "upload-draft-interop-version": "8" };
  return lab.fetch(path, { method, headers: { ...version, ...headers }, ...(body !== undefined && { body }) });
}

async function create(path: string, headers: Fields = {}, body?: BodyInit): Promise<string> {
  const response = await ask("POST", path, { "upload-complete": "?0", ...headers }, body);
  expect([response.status, await response.text(), response.headers.get("upload-complete")]).toEqual([201, "", "?0"]);
  expect(response.headers.get("upload-limit")).toMatch(/^max-size=\d+, max-age=(59|60)$/);
  return response.headers.get("location")!;
}

function append(
  path: string,
  offset: number,
  body: BodyInit,
  isLast: boolean,
  headers: Fields = {},
): Promise<Response> {
  const own = { "content-type": PARTIAL, "upload-offset": String(offset), "upload-complete": isLast ? "?1" : "?0" };
  return ask("PATCH", path, { ...own, ...headers }, body);
}

async function head(path: string, headers: Fields = {}): Promise<Fields> {
  const response = await ask("HEAD", path, headers);
  expect([response.status, response.headers.get("cache-control")]).toEqual([204, "no-store"]);
  return Object.fromEntries(
    ["offset", "complete", "length", "limit"].map((name) => [name, response.headers.get(`upload-${name}`) ?? ""]),
  );
}

const problem = async (response: Response) => (await response.json()) as Record<string, unknown>;

describe("the draft", () => {
  test("a key whose upload has expired makes a new one, before the old one is swept away too", async () => {
    const keyed = { "idempotency-key": '"expires"', "upload-length": String(7 * MiB) };
    const path = await create("/uploads", keyed);
    // The room of one that is still counted would not be there for the last one.
    for (let n = 0; n < 3; n++) {
      lab.ahead += 61_000;
      expect(await create("/uploads", keyed)).toBe(path);
      expect(await append(path, 0, bytesOf(10), false)).toMatchObject({ status: 204 });
      expect(await head(path)).toMatchObject({ offset: "10" });
    }
    const raw = { "idempotency-key": '"raw expires"', "content-type": "image/bmp" };
    const post = async (body: string) => (await lab.fetch("/uploads", { method: "POST", headers: raw, body })).json();
    const first = await post("BMone");
    lab.ahead += 61_000;
    expect(await post("BMother")).toEqual({ ...(first as object), size: 7, sha256: sha256(Buffer.from("BMother")) });
  });

  test("made carefully, appended to, and the last append is the call", async () => {
    const bytes = bytesOf(100_000);
    const input = encodeURIComponent('{"width":5}');
    const path = await create(`/files/hash?input=${input}`, {
      "upload-length": "100000",
      "content-type": "text/x-own",
      "content-disposition": 'inline; filename="a.txt"',
    });
    const first = await append(path, 0, bytes.slice(0, 70_000), false);
    expect([first.status, first.headers.get("upload-complete"), first.headers.get("upload-offset")]).toEqual([
      204,
      "?0",
      "70000",
    ]);
    expect(await head(path)).toMatchObject({ offset: "70000", complete: "?0", length: "100000" });
    const last = await append(path, 70_000, bytes.slice(70_000), true);
    expect([last.status, last.headers.get("upload-complete")]).toEqual([200, "?1"]);
    const result = { size: 100_000, type: "text/x-own", name: "a.txt", sha256: sha256(bytes), width: 5 };
    expect(await last.json()).toEqual(result);
    const call = `/calls/c${path.slice("/uploads/u".length)}`;
    expect(last.headers.get("content-location")).toBe(call);
    expect(await head(path)).toMatchObject({ offset: "100000", complete: "?1", length: "100000" });
    const again = await append(path, 100_000, "", true);
    expect([await again.json(), lab.seen.calls]).toEqual([result, 1]);
  });

  test("whole in the first request", async () => {
    const bytes = bytesOf(5000);
    const response = await ask("POST", "/files/hash", { "upload-complete": "?1" }, bytes);
    expect([response.status, response.headers.get("upload-complete")]).toEqual([200, "?1"]);
    expect(await response.json()).toMatchObject({ sha256: sha256(bytes) });
    const named = await ask("POST", "/uploads", { "upload-complete": "?1", "content-type": "image/jpeg" }, jpegOf(50));
    expect(await named.json()).toMatchObject({ size: 50, type: "image/jpeg" });
    const empty = await ask("POST", "/files/hash", { "upload-complete": "?1" }, "");
    expect(await empty.json()).toMatchObject({ size: 0 });
  });

  test("a length that nobody knew, and the end as a request of its own", async () => {
    const path = await create("/files/hash", {}, bytesOf(10));
    expect((await append(path, 10, bytesOf(10), false)).status).toBe(204);
    expect(await head(path)).toMatchObject({ offset: "20", length: "" });
    expect(await (await append(path, 20, "", true)).json()).toMatchObject({ size: 20 });
  });

  test("an answer for later, and the events", async () => {
    lab.seen.close();
    const path = await create("/files/hash");
    const later = await append(path, 0, "abc", true, { prefer: "respond-async" });
    expect([later.status, later.headers.get("upload-complete")]).toEqual([202, "?1"]);
    const call = later.headers.get("location")!;
    expect((await ask("DELETE", path)).status).toBe(409);
    lab.seen.open();
    await lab.fetch(call, { headers: { prefer: "wait=10" } });
    const other = await create("/files/pieces");
    const events = await append(other, 0, "abc", true, { accept: "text/event-stream" });
    expect(await events.text()).toContain("event: end");
  });

  test("what is wrong has its problem type", async () => {
    const path = await create("/uploads", { "upload-length": "10" });
    const offset = await append(path, 5, "abc", false);
    expect([offset.status, offset.headers.get("upload-offset"), offset.headers.get("upload-complete")]).toEqual([
      409,
      "0",
      "?0",
    ]);
    expect(await problem(offset)).toMatchObject({
      type: `${IANA}mismatching-upload-offset`,
      "expected-offset": 0,
      "provided-offset": 5,
      code: "aborted",
    });
    for (const response of [
      await append(path, 0, "abc", true),
      await append(path, 0, "abc", false, { "upload-length": "11" }),
      await ask("POST", "/uploads", { "upload-complete": "?1", "upload-length": "4" }, "abc"),
    ]) {
      expect([response.status, (await problem(response))["type"]]).toEqual([400, `${IANA}inconsistent-upload-length`]);
    }
    expect((await append(path, 0, "abcdefghij", true)).status).toBe(200);
    const complete = await append(path, 10, "x", false);
    expect([complete.status, (await problem(complete))["type"]]).toEqual([400, `${IANA}completed-upload`]);
    const fields = { "content-type": PARTIAL, "upload-offset": "0", "upload-complete": "?1" };
    const without = (name: string) => Object.fromEntries(Object.entries(fields).filter(([each]) => each !== name));
    expect((await ask("PATCH", path, without("content-type"), "x")).status).toBe(415);
    expect((await ask("PATCH", path, without("upload-offset"), "x")).status).toBe(400);
    expect((await ask("PATCH", path, without("upload-complete"), "x")).status).toBe(400);
    expect((await ask("PATCH", path, { ...fields, "upload-draft-interop-version": "3" }, "x")).status).toBe(400);
    expect((await ask("POST", "/uploads", { "upload-complete": "?0", "upload-length": String(9 * MiB) })).status).toBe(
      413,
    );
    expect((await ask("POST", "/files/photo", { "upload-complete": "?0", "content-type": "text/plain" })).status).toBe(
      400,
    );
    expect((await ask("DELETE", path)).status).toBe(204);
  });

  test("too much ends an upload", async () => {
    const path = await create("/uploads", { "upload-length": "10" });
    const pieces = new Blob([bytesOf(11)]).stream();
    expect((await append(path, 0, pieces as never, false)).status).toBe(413);
    expect((await ask("HEAD", path)).status).toBe(404);
    const photo = await create(`/files/photo?input=${encodeURIComponent('{"title":"t"}')}`);
    expect((await append(photo, 0, jpegOf(2 * MiB + 1), false)).status).toBe(413);
    expect(lab.files()).toEqual([]);
  });

  test("digests of a part, and of the whole", async () => {
    const bytes = bytesOf(1000);
    const digest = (part: Uint8Array) => `sha-256=:${new Bun.CryptoHasher("sha256").update(part).digest("base64")}:`;
    const path = await create("/uploads", { "repr-digest": `md5=:AAAA:, ${digest(bytes)}` });
    const wrong = await append(path, 0, bytes.slice(0, 500), false, { "content-digest": digest(bytes) });
    expect([wrong.status, (await head(path))["offset"]]).toEqual([400, "0"]);
    const first = bytes.slice(0, 500);
    expect((await append(path, 0, first, false, { "content-digest": digest(first) })).status).toBe(204);
    expect(await (await append(path, 500, bytes.slice(500), true)).json()).toMatchObject({ sha256: sha256(bytes) });
    const other = await create("/uploads", { "repr-digest": digest(bytes) });
    expect((await append(other, 0, bytesOf(1000, 7), true)).status).toBe(400);
    expect((await ask("HEAD", other)).status).toBe(404);
    expect((await ask("POST", "/uploads", { "upload-complete": "?0", "repr-digest": "sha-256=nothing" })).status).toBe(
      400,
    );
  });

  test("another version is a request without the draft", async () => {
    const fields = { "upload-complete": "?1", "upload-draft-interop-version": "5", "content-type": "text/plain" };
    const response = await ask("POST", "/files/hash", fields, "abc");
    expect([response.status, response.headers.get("upload-complete")]).toEqual([200, null]);
    expect(await response.json()).toMatchObject({ size: 3 });
  });

  test("a key creates once, also when nobody heard the answer", async () => {
    const key = { "idempotency-key": '"my photo"', "upload-length": "10" };
    const path = await create("/files/hash", key);
    expect((await append(path, 0, "abcd", false)).status).toBe(204);
    const again = await ask("POST", "/files/hash", { "upload-complete": "?0", ...key });
    expect([again.status, again.headers.get("location"), again.headers.get("upload-offset")]).toEqual([201, path, "4"]);
    const other = await ask("POST", "/files/hash", { "upload-complete": "?0", ...key, "upload-length": "11" });
    expect(other.status).toBe(422);
    const theirs = await ask("POST", "/files/hash", { "upload-complete": "?0", ...key, authorization: "Bearer you" });
    expect([theirs.status, theirs.headers.get("location") === path]).toEqual([201, false]);
    const whole = await ask(
      "POST",
      "/files/hash",
      { "upload-complete": "?1", "idempotency-key": '"my photo"' },
      "abcdefghij",
    );
    expect([whole.status, whole.headers.get("upload-offset")]).toEqual([409, "4"]);
    expect((await append(path, 4, "efghij", true)).status).toBe(200);
    const replayed = await ask("POST", "/files/hash", { "upload-complete": "?0", ...key });
    expect([replayed.status, replayed.headers.get("upload-complete")]).toEqual([200, "?1"]);
    expect(await replayed.json()).toMatchObject({ size: 10 });
  });

  test("a creation that breaks off goes on by its key", async () => {
    const socket = connect(lab.port, "127.0.0.1");
    socket.write(
      "POST /files/hash HTTP/1.1\r\nHost: x\r\nUpload-Complete: ?1\r\nIdempotency-Key: k9\r\nContent-Length: 1000\r\n\r\nabc",
    );
    await until(
      () => lab.files().some((name) => name.endsWith(".bin") && lab.sizeOf(`/uploads/${name.slice(0, -4)}`) === 3),
      "three bytes",
    );
    socket.destroy();
    const fields = { "upload-complete": "?0", "idempotency-key": "k9" };
    const found = await ask("POST", "/files/hash", fields);
    expect(found.headers.get("upload-offset")).toBe("3");
    const answer = await append(found.headers.get("location")!, 3, "d".repeat(997), true);
    expect(await answer.json()).toMatchObject({ size: 1000 });
  });

  test("a GET says it as JSON, and OPTIONS the limits", async () => {
    const path = await create("/uploads", { "content-type": "text/plain" }, "abc");
    const got = await ask("GET", path);
    expect(await got.json()).toMatchObject({ upload: path.slice(1), offset: 3, complete: false, type: "text/plain" });
    const options = await lab.fetch("/files/photo", { method: "OPTIONS" });
    expect(options.headers.get("upload-limit")).toBe(`max-size=${2 * MiB}, max-age=60`);
  });
});
