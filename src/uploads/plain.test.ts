/** Files in one request: raw bodies and forms. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../suites/transport/world.ts";
import { LIMITS } from "../contract/limits.ts";
import { Uploads } from "./store.ts";
import { bytesOf, jpegOf, Lab, MiB, sha256 } from "./testing.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await new Lab({
    limits: { uploadBytes: 4 * MiB, uploadsPerPrincipal: 5, uploadBytesPerPrincipal: 6 * MiB },
  }).start();
});
afterAll(() => lab.close());

const OCTETS = { "content-type": "application/octet-stream" };
const query = (input: unknown) => `input=${encodeURIComponent(JSON.stringify(input))}`;

async function raw(path: string, body: BodyInit, headers: Record<string, string> = OCTETS) {
  const response = await lab.fetch(path, { method: "POST", body, headers });
  return { response, json: (await response.json()) as never as Record<string, unknown> };
}

function form(parts: Record<string, string | Blob | [Blob, string]>): FormData {
  const data = new FormData();
  for (const [name, part] of Object.entries(parts)) {
    if (Array.isArray(part)) data.append(name, part[0], part[1]);
    else data.append(name, part);
  }
  return data;
}

async function post(path: string, data: FormData, headers: Record<string, string> = {}) {
  const response = await lab.fetch(path, { method: "POST", body: data, headers });
  return { response, json: (await response.json()) as never as Record<string, unknown> };
}

describe("one request", () => {
  // Whatever a case did: what it made is gone once its calls have ended.
  afterEach(async () => {
    await until(() => lab.files().length === 0, "an empty directory");
  });

  test("a raw body is the method's upload, and the query the rest of its input", async () => {
    const bytes = bytesOf(300_000);
    const { response, json } = await raw(`/files/hash?${query({ width: 3 })}`, bytes, {
      ...OCTETS,
      "content-disposition": `inline; filename="../../a b.bin"; filename*=UTF-8''%C3%A4.bin`,
    });
    expect(json).toEqual({
      size: 300_000,
      type: "application/octet-stream",
      name: "ä.bin",
      sha256: sha256(bytes),
      width: 3,
    });
    expect(response.headers.get("location")).toMatch(/^\/calls\/c[0-9a-z]{26}$/);
    expect(response.headers.get("content-location")).toBe(response.headers.get("location"));
  });

  test("an empty body is an empty file", async () => {
    const { json } = await raw("/files/hash", new Uint8Array(0));
    expect(json).toMatchObject({ size: 0, sha256: sha256(new Uint8Array(0)) });
  });

  test("the whole input may be a file", async () => {
    expect((await raw("/files/whole", bytesOf(1234))).json as unknown).toBe(1234);
    expect((await post("/files/whole", form({ any: new Blob(["four"]) }))).json as unknown).toBe(4);
    const inline = await raw("/files/whole", JSON.stringify(btoa("seven!!")), { "content-type": "application/json" });
    expect(inline.json as unknown).toBe(7);
  });

  test("a form: files by the names of members, text that is JSON as that", async () => {
    const parts = {
      a: [new Blob([bytesOf(70_000)]), "x"] as [Blob, string],
      b: new Blob(["12"]),
      note: '{"deep":[1]}',
    };
    expect((await post("/files/two", form(parts))).json as unknown).toBe('70000 2 {"deep":[1]}');
    const text = { ...parts, note: "not JSON" };
    expect((await post("/files/two", form(text))).json as unknown).toBe('70000 2 "not JSON"');
    const rest = { a: new Blob(["1"]), b: new Blob(["22"]), input: '{"note":null}' };
    expect((await post("/files/two", form(rest))).json as unknown).toBe("1 2 null");
  });

  test("a form: text for a member that is text stands as it is, unless its part is JSON", async () => {
    const image = new Blob([jpegOf(50)], { type: "image/jpeg" });
    const answer = async (title: string | Blob | [Blob, string]) => {
      const { json } = await post("/files/photo", form({ title, image }));
      return json as unknown;
    };
    for (const title of ["2024", "true", "null", '"quoted"', "{}", "a day"]) {
      expect(await answer(title)).toBe(`${title}: 50`);
    }
    const json =
      '--x\r\ncontent-disposition: form-data; name="title"\r\ncontent-type: application/json\r\n\r\n"as JSON"\r\n';
    const file =
      '--x\r\ncontent-disposition: form-data; name="image"; filename="f"\r\ncontent-type: image/jpeg\r\n\r\n';
    const body = Buffer.concat([Buffer.from(json + file), jpegOf(50), Buffer.from("\r\n--x--\r\n")]);
    const typed = await raw("/files/photo", body, { "content-type": "multipart/form-data; boundary=x" });
    expect(typed.json as unknown).toBe("as JSON: 50");
  });

  test("JSON goes its usual way, also to a method that takes a file", async () => {
    const { response, json } = await raw("/files/hash", '{"file":"nothing"}', { "content-type": "application/json" });
    expect([response.status, json]).toEqual([
      400,
      expect.objectContaining({ fields: [expect.objectContaining({ path: "file" })] }),
    ]);
    expect((await raw("/files/plain", '{"n":4}', { "content-type": "application/json" })).json as unknown).toBe(4);
    expect((await raw("/files/plain", "n", { "content-type": "image/png" })).response.status).toBe(415);
  });

  test("the events of the call, and a call for later", async () => {
    const sse = await lab.fetch("/files/pieces", {
      method: "POST",
      body: bytesOf(100),
      headers: { ...OCTETS, accept: "text/event-stream" },
    });
    expect(sse.headers.get("content-type")).toBe("text/event-stream");
    expect((await sse.text()).match(/"bytes":10\d/g)).toEqual(['"bytes":100', '"bytes":101', '"bytes":102']);
    lab.seen.close();
    const later = await raw("/files/hash", bytesOf(100), { ...OCTETS, prefer: "respond-async" });
    expect(later.response.status).toBe(202);
    const call = later.response.headers.get("location")!;
    // The bytes are there as long as the call runs, and it says whose they are.
    expect(lab.files()).toHaveLength(2);
    const name = `uploads/u${call.slice("/calls/c".length)}`;
    const removed = await lab.fetch(`/${name}`, { method: "DELETE" });
    expect(removed.status).toBe(409);
    expect(((await removed.json()) as { hint: string }).hint).toContain(call);
    lab.seen.open();
    const state = await lab.fetch(call, { headers: { prefer: "wait=10" } });
    expect(((await state.json()) as { result: unknown }).result).toMatchObject({ size: 100 });
  });

  test("what is wrong is said, and nothing is left", async () => {
    const calls = lab.seen.calls;
    const cases: readonly [
      string,
      () => Promise<{ response: Response; json: Record<string, unknown> }>,
      number,
      object,
    ][] = [
      [
        "type",
        () => raw(`/files/photo?${query({ title: "t" })}`, bytesOf(10), { "content-type": "text/plain" }),
        400,
        { fields: [{ path: "image", message: expect.stringContaining("text/plain") }] },
      ],
      [
        "a type that the bytes are not",
        () => raw(`/files/photo?${query({ title: "t" })}`, bytesOf(100), { "content-type": "image/jpeg" }),
        400,
        { fields: [{ path: "image", message: expect.stringContaining("begin") }] },
      ],
      [
        "no type, and bytes of another",
        () => raw(`/files/photo?${query({ title: "t" })}`, new TextEncoder().encode("%PDF-1.7"), OCTETS),
        400,
        { fields: [{ path: "image", message: expect.stringContaining("application/pdf") }] },
      ],
      [
        "more than the method takes",
        () => raw(`/files/photo?${query({ title: "t" })}`, jpegOf(2 * MiB + 1), { "content-type": "image/jpeg" }),
        413,
        { limit: "uploadBytes" },
      ],
      ["more than the server takes", () => raw("/files/hash", bytesOf(4 * MiB + 1)), 413, { limit: "uploadBytes" }],
      [
        "a rest that is no object",
        () => raw("/files/hash?input=[1]", bytesOf(10)),
        400,
        { fields: [{ path: "input", message: expect.any(String) }] },
      ],
      [
        "a rest that is too deep",
        () => raw(`/files/hash?input=${'{"a":'.repeat(70)}1${"}".repeat(70)}`, bytesOf(10)),
        400,
        { fields: [{ path: "input", message: expect.any(String) }] },
      ],
      [
        "a rest that the schema refuses",
        () => raw(`/files/photo?${query({ title: 5 })}`, jpegOf(100), { "content-type": "image/jpeg" }),
        400,
        { fields: [{ path: "title", message: expect.any(String) }] },
      ],
      [
        "no member said",
        () => raw("/files/two", bytesOf(10)),
        400,
        { fields: [{ path: "member", message: expect.any(String) }] },
      ],
      [
        "no such member",
        () => raw("/files/hash?member=other", bytesOf(10)),
        400,
        { fields: [{ path: "member", message: expect.any(String) }] },
      ],
      ["compressed", () => raw("/files/hash", bytesOf(10), { ...OCTETS, "content-encoding": "gzip" }), 415, {}],
      [
        "another hash",
        () => raw("/files/hash", bytesOf(10), { ...OCTETS, "repr-digest": `sha-256=:${btoa("x".repeat(32))}:` }),
        400,
        { fields: [{ path: "Repr-Digest", message: expect.any(String) }] },
      ],
      [
        "a form without a file",
        () => post("/files/hash", form({ width: "3" })),
        400,
        { fields: [{ path: "file", message: expect.any(String) }] },
      ],
      [
        "a form with another file",
        () => post("/files/hash", form({ other: [new Blob(["x"]), "x.bin"] })),
        400,
        { fields: [{ path: "member", message: expect.any(String) }] },
      ],
      [
        "a form with two files for one",
        async () => {
          const data = form({ file: new Blob(["x"]) });
          data.append("file", new Blob(["y"]));
          return post("/files/hash", data);
        },
        400,
        { fields: [{ path: "file", message: expect.any(String) }] },
      ],
      [
        "a form whose second file is wrong",
        () => post("/files/photo", form({ title: "t", image: new Blob([bytesOf(50)], { type: "image/jpeg" }) })),
        400,
        { fields: [{ path: "image", message: expect.any(String) }] },
      ],
      ["a form without a boundary", () => raw("/files/hash", "x", { "content-type": "multipart/form-data" }), 400, {}],
      [
        "a form that ends early",
        () =>
          raw("/files/hash", '--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nabc', {
            "content-type": "multipart/form-data; boundary=x",
          }),
        400,
        {},
      ],
      ["a form to no method", () => post("/uploads", form({ file: new Blob(["x"]) })), 415, {}],
    ];
    for (const [what, run, status, fault] of cases) {
      const { response, json } = await run();
      expect([what, response.status, json]).toEqual([what, status, expect.objectContaining(fault)]);
      await until(() => lab.files().length === 0, `nothing left of: ${what}`);
    }
    expect(lab.seen.calls).toBe(calls);
  });

  test("a body that breaks off is forgotten", async () => {
    for (const head of [
      "POST /files/hash HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc",
      'POST /files/hash HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nabc',
      "POST /uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
      "POST /files/hash HTTP/1.1\r\nHost: x\r\nUpload-Complete: ?1\r\nContent-Length: 1000\r\n\r\nabc",
    ]) {
      const socket = connect(lab.port, "127.0.0.1");
      socket.write(head);
      await until(() => lab.files().length > 0, `the file of ${head}`);
      socket.destroy();
      await until(() => lab.files().length === 0, `nothing left of ${head}`);
    }
  });

  test("the same key and bytes are the same call; other bytes, another input are refused", async () => {
    const calls = lab.seen.calls;
    const headers = { ...OCTETS, "idempotency-key": "one" };
    const first = await raw("/files/hash", bytesOf(5000), headers);
    const again = await raw("/files/hash", bytesOf(5000), headers);
    expect(again.json).toEqual(first.json);
    expect(again.response.headers.get("location")).toBe(first.response.headers.get("location"));
    expect(again.response.headers.get("idempotency-replayed")).toBe("true");
    expect(lab.seen.calls).toBe(calls + 1);
    const other = await raw("/files/hash", bytesOf(5000, 2), headers);
    expect([other.response.status, other.json["info"]]).toEqual([422, { key: "reused" }]);
    const input = await raw(`/files/hash?${query({ width: 1 })}`, bytesOf(5000), headers);
    expect(input.response.status).toBe(422);
    // Two at the same moment.
    const two = await Promise.all(
      [1, 2].map(() => raw("/files/hash", bytesOf(9000), { ...OCTETS, "idempotency-key": "two" })),
    );
    const statuses = two.map(({ response }) => response.status);
    expect(statuses.every((status) => status === 200 || status === 409)).toBe(true);
    expect(lab.seen.calls).toBe(calls + 2);
    // What is known of them stays until it expires.
    lab.ahead += 25 * 3_600_000;
    await lab.restart();
  });

  test("an upload without a method, and its end", async () => {
    const { response, json } = await raw("/uploads", jpegOf(800), {});
    expect(response.status).toBe(201);
    expect(json).toMatchObject({ size: 800, type: "image/jpeg", sha256: sha256(jpegOf(800)) });
    expect(response.headers.get("location")).toBe(`/${json["upload"]}`);
    const call = await raw("/files/photo", JSON.stringify({ image: json["upload"], title: "t" }), {
      "content-type": "application/json",
    });
    expect(call.json as unknown).toBe("t: 800");
    // It can be used again, until it is removed.
    const more = await raw("/files/hash", JSON.stringify({ file: json["upload"] }), {
      "content-type": "application/json",
    });
    expect(more.json).toMatchObject({ size: 800, type: "image/jpeg" });
    expect((await lab.fetch(`/${json["upload"]}`, { method: "DELETE" })).status).toBe(204);
    expect((await lab.fetch(`/${json["upload"]}`, { method: "DELETE" })).status).toBe(404);
  });

  test("the quotas: how many, and how large together", async () => {
    const made: string[] = [];
    for (let i = 0; i < 5; i++) made.push((await raw("/uploads", bytesOf(10), OCTETS)).json["upload"] as string);
    const more = await raw("/uploads", bytesOf(10));
    expect([more.response.status, more.json["limit"]]).toEqual([429, "uploadsPerPrincipal"]);
    for (const name of made.splice(0)) await lab.fetch(`/${name}`, { method: "DELETE" });
    made.push((await raw("/uploads", bytesOf(4 * MiB))).json["upload"] as string);
    const large = await raw("/uploads", bytesOf(3 * MiB));
    expect([large.response.status, large.json["limit"]]).toEqual([507, "uploadBytesPerPrincipal"]);
    // What is not announced is found out as it comes.
    const pieces = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 30; i++) controller.enqueue(bytesOf(100_000));
        controller.close();
      },
    });
    const unannounced = await raw("/uploads", pieces as never);
    expect([unannounced.response.status, unannounced.json["limit"]]).toEqual([507, "uploadBytesPerPrincipal"]);
    for (const name of made) await lab.fetch(`/${name}`, { method: "DELETE" });
    expect((await raw("/uploads", bytesOf(10))).response.status).toBe(201);
    lab.ahead += 25 * 3_600_000;
    await lab.restart();
  });
});

test("all uploads together have a limit", async () => {
  const other = await new Lab({ users: true, limits: { uploadBytesTotal: 1000 } }).start();
  try {
    const send = (user: string) =>
      other.fetch("/uploads", {
        method: "POST",
        body: bytesOf(600),
        headers: { ...OCTETS, authorization: `Bearer ${user}` },
      });
    expect((await send("a")).status).toBe(201);
    const second = await send("b");
    expect([second.status, ((await second.json()) as { limit: string }).limit]).toEqual([507, "uploadBytesTotal"]);
  } finally {
    await other.close();
  }
});

test("a server that goes says so to whoever still sends", async () => {
  const other = await new Lab().start();
  let stopped: Promise<void> | undefined;
  try {
    const sending = ["/files/hash", "/uploads"].map((path) => {
      const socket = connect(other.port, "127.0.0.1");
      socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc`);
      return new Promise<string>((resolve) => {
        let text = "";
        socket.on("data", (data) => {
          text += data;
        });
        socket.on("close", () => resolve(text));
      });
    });
    await until(() => other.files().filter((name) => name.endsWith(".bin")).length === 2, "both have begun");
    stopped = other.running.stop();
    for (const text of await Promise.all(sending)) {
      expect(text).toStartWith("HTTP/1.1 503");
      expect(text).toMatch(/\r\nretry-after: 1\r\n/i);
      expect(text).toContain('"code":"unavailable"');
    }
    await stopped;
    expect(other.files()).toEqual([]);
  } finally {
    await (stopped ?? other.running.stop());
    rmSync(other.folder, { recursive: true, force: true });
  }
});

test("a server that goes before the first byte has been read leaves nothing, and says so too", async () => {
  const folder = mkdtempSync(join(tmpdir(), "backtalk-uploads-test-"));
  try {
    const uploads = new Uploads(folder, LIMITS, Date.now);
    await uploads.ready();
    const draft = { owner: "a", type: "image/png", isOneShot: true };
    const before = await uploads.create(draft);
    // Its file is not made yet.
    const during = uploads.create(draft);
    const closed = uploads.close();
    for (const creating of [before, during]) {
      const entry = await creating;
      const claim = await entry.claim();
      const appended = uploads.append(entry, new Blob(["abc"]).stream().getReader(), { claim });
      await expect(appended).rejects.toMatchObject({ code: "unavailable" });
      claim.release();
    }
    await closed;
    await expect(uploads.create(draft)).rejects.toMatchObject({ code: "unavailable" });
    expect(readdirSync(folder).filter((name) => name.startsWith("u"))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
