/** tus 1.0, clause by clause, and with the client that browsers use. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { Upload } from "tus-js-client";
import { until } from "../../suites/transport/world.ts";
import { seeded } from "../wire/seed.ts";
import { bytesOf, jpegOf, Lab, MiB, sha256 } from "./testing.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await new Lab({ limits: { uploadBytes: 8 * MiB, uploadMs: 60_000 }, users: true }).start();
});
afterAll(() => lab.close());
afterEach(async () => {
  lab.ahead += 61_000;
  await lab.restart();
  expect(lab.files()).toEqual([]);
});

type Fields = Record<string, string>;
const OFFSET = "application/offset+octet-stream";

function ask(method: string, path: string, headers: Fields = {}, body?: BodyInit): Promise<Response> {
  return lab.fetch(path, {
    method,
    headers: { "tus-resumable": "1.0.0", ...headers },
    ...(body !== undefined && { body }),
  });
}

const metadata = (values: Fields) =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${Buffer.from(value).toString("base64")}`)
    .join(",");

async function create(length: number | undefined, headers: Fields = {}): Promise<string> {
  const size: Fields = length === undefined ? { "upload-defer-length": "1" } : { "upload-length": String(length) };
  const response = await ask("POST", "/uploads", { ...size, ...headers });
  expect(response.status).toBe(201);
  expect(response.headers.get("upload-expires")).toMatch(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
  return response.headers.get("location")!;
}

function patch(path: string, offset: number, body: BodyInit, headers: Fields = {}): Promise<Response> {
  return ask("PATCH", path, { "content-type": OFFSET, "upload-offset": String(offset), ...headers }, body);
}

async function offsetOf(path: string): Promise<number> {
  const response = await ask("HEAD", path);
  expect([response.status, response.headers.get("cache-control")]).toEqual([200, "no-store"]);
  return Number(response.headers.get("upload-offset"));
}

describe("core", () => {
  test("create, append in parts, and the last part is the call", async () => {
    const bytes = bytesOf(100_000);
    const values = metadata({ filename: "p.bin", method: "files/hash", input: '{"width":4}' });
    const path = await create(bytes.length, { "upload-metadata": values });
    const first = await patch(path, 0, bytes.slice(0, 60_000));
    expect([first.status, first.headers.get("upload-offset"), first.headers.get("tus-resumable")]).toEqual([
      204,
      "60000",
      "1.0.0",
    ]);
    expect(await offsetOf(path)).toBe(60_000);
    const last = await patch(path, 60_000, bytes.slice(60_000));
    expect(last.status).toBe(200);
    expect(last.headers.get("upload-offset")).toBe("100000");
    const call = `/calls/c${path.slice("/uploads/u".length)}`;
    expect(last.headers.get("content-location")).toBe(call);
    const result = { size: 100_000, type: "application/octet-stream", name: "p.bin", sha256: sha256(bytes), width: 4 };
    expect(await last.json()).toEqual(result);
    // Finished twice, there is one call; and its state tells the same.
    const again = await patch(path, 100_000, new Uint8Array(0));
    expect(await again.json()).toEqual(result);
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expect(lab.seen.calls).toBe(1);
    expect(((await (await lab.fetch(call)).json()) as { result: unknown }).result).toEqual(result);
    const head = await ask("HEAD", path);
    expect(head.headers.get("content-location")).toBe(call);
    expect(head.headers.get("upload-metadata")).toBe(values);
    // The bytes go with the call; what is known of them stays until it expires.
    await until(() => lab.files().every((name) => name.endsWith(".json")), "the bytes to go");
  });

  test("created at the address of the method, with the first bytes, for events", async () => {
    const path = (
      await ask("POST", "/files/pieces", { "upload-length": "10", "content-type": OFFSET }, bytesOf(4))
    ).headers.get("location")!;
    expect(await offsetOf(path)).toBe(4);
    const last = await patch(path, 4, bytesOf(6), { accept: "text/event-stream" });
    expect(last.headers.get("content-type")).toBe("text/event-stream");
    expect((await last.text()).match(/"bytes":1\d/g)).toEqual(['"bytes":10', '"bytes":11', '"bytes":12']);
  });

  test("created whole: the answer is the call's, the address the upload's", async () => {
    const headers = {
      "upload-length": "10",
      "content-type": OFFSET,
      "upload-metadata": metadata({ method: "files.hash" }),
    };
    const response = await ask("POST", "/uploads", headers, bytesOf(10));
    expect([response.status, response.headers.get("location")]).toEqual([201, expect.stringMatching(/^\/uploads\/u/)]);
    expect(await response.json()).toMatchObject({ size: 10 });
    const later = await ask("POST", "/uploads", { ...headers, prefer: "respond-async" }, bytesOf(10));
    expect([later.status, later.headers.get("location")]).toEqual([202, expect.stringMatching(/^\/uploads\/u/)]);
  });

  test("without a method it has a name", async () => {
    const path = await create(0);
    expect(await offsetOf(path)).toBe(0);
    const full = await create(3);
    expect(await (await patch(full, 0, "abc")).json()).toMatchObject({ upload: full.slice(1), size: 3 });
  });

  test("what tus has statuses for", async () => {
    const path = await create(10);
    const cases: readonly [string, Promise<Response>, number, Fields?][] = [
      ["another version", ask("HEAD", path, { "tus-resumable": "0.2.2" }), 412, { "tus-version": "1.0.0" }],
      ["another offset", patch(path, 5, "abc"), 409, { "upload-offset": "0" }],
      ["no offset", ask("PATCH", path, { "content-type": OFFSET }, "abc"), 400],
      ["another type", ask("PATCH", path, { "content-type": "text/plain", "upload-offset": "0" }, "abc"), 415],
      ["nothing there", ask("HEAD", "/uploads/u00000000000000000000000000"), 404],
      ["no name", ask("HEAD", "/uploads/none"), 404],
      ["no length", ask("POST", "/uploads"), 400],
      ["a length and none", ask("POST", "/uploads", { "upload-length": "1", "upload-defer-length": "1" }), 400],
      ["no number", ask("POST", "/uploads", { "upload-length": "-1" }), 400],
      ["too large", ask("POST", "/uploads", { "upload-length": String(9 * MiB) }), 413],
      [
        "too large for the method",
        ask("POST", "/files/photo", {
          "upload-length": String(3 * MiB),
          "upload-metadata": metadata({ input: '{"title":"t"}' }),
        }),
        413,
      ],
      [
        "a type that the method does not take",
        ask("POST", "/files/photo", {
          "upload-length": "3",
          "upload-metadata": metadata({ filetype: "text/plain", input: '{"title":"t"}' }),
        }),
        400,
      ],
      ["a bad input", ask("POST", "/files/photo", { "upload-length": "3" }), 400],
      [
        "no such method",
        ask("POST", "/uploads", { "upload-length": "3", "upload-metadata": metadata({ method: "files/none" }) }),
        404,
      ],
      [
        "a method without uploads",
        ask("POST", "/uploads", { "upload-length": "3", "upload-metadata": metadata({ method: "files/plain" }) }),
        400,
      ],
      ["metadata that is none", ask("POST", "/uploads", { "upload-length": "3", "upload-metadata": "a b c" }), 400],
      ["another method", ask("PUT", path), 405],
    ];
    for (const [what, asked, status, fields = {}] of cases) {
      const response = await asked;
      const told = Object.fromEntries(Object.keys(fields).map((name) => [name, response.headers.get(name)]));
      // RFC 9457 §3.1.2: the same as of HTTP.
      const text = await response.text();
      if (text !== "") expect([what, (JSON.parse(text) as { status: number }).status]).toEqual([what, status]);
      expect([what, response.status, told, response.headers.get("tus-resumable")]).toEqual([
        what,
        status,
        fields,
        "1.0.0",
      ]);
    }
    expect(lab.files()).toHaveLength(2);
    // More than was announced: the upload is of no use any more.
    expect((await patch(path, 0, bytesOf(11))).status).toBe(413);
    expect(lab.files()).toEqual([]);
  });

  test("what is spoken, and a client that has only POST", async () => {
    const options = await lab.fetch("/uploads", { method: "OPTIONS" });
    expect(options.status).toBe(204);
    expect(options.headers.get("tus-extension")).toBe(
      "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination,concatenation",
    );
    expect(options.headers.get("tus-max-size")).toBe(String(8 * MiB));
    const own = await lab.fetch("/files/photo", { method: "OPTIONS" });
    expect(own.headers.get("tus-max-size")).toBe(String(2 * MiB));
    const path = await create(3);
    const override = { "x-http-method-override": "PATCH", "content-type": OFFSET, "upload-offset": "0" };
    expect((await ask("POST", path, override, "abc")).status).toBe(200);
    expect((await ask("POST", path, { "x-http-method-override": "DELETE" })).status).toBe(204);
  });

  test("another user's upload is not there", async () => {
    const mine = { authorization: "Bearer me" };
    const path = await create(10, mine);
    for (const response of [
      await ask("HEAD", path, { authorization: "Bearer you" }),
      await ask("HEAD", path),
      await patch(path, 0, "abc", { authorization: "Bearer you" }),
      await ask("DELETE", path, { authorization: "Bearer you" }),
    ])
      expect(response.status).toBe(404);
    expect((await patch(path, 0, "abc", mine)).status).toBe(204);
  });
});

describe("extensions", () => {
  test("a length that is told later", async () => {
    const path = await create(undefined);
    expect((await ask("HEAD", path)).headers.get("upload-defer-length")).toBe("1");
    expect((await patch(path, 0, "abc")).status).toBe(204);
    expect((await patch(path, 3, "", { "upload-length": "2" })).status).toBe(400);
    expect((await patch(path, 3, "", { "upload-length": "5" })).status).toBe(204);
    expect((await patch(path, 3, "", { "upload-length": "6" })).status).toBe(400);
    expect(await (await patch(path, 3, "de")).json()).toMatchObject({ size: 5 });
  });

  test("checksums: what is wrong is not kept", async () => {
    const bytes = bytesOf(50_000);
    const sum = (name: string, part: Uint8Array) =>
      `${name} ${new Bun.CryptoHasher(name as "sha1").update(part).digest("base64")}`;
    const path = await create(bytes.length);
    const first = bytes.slice(0, 20_000);
    expect((await patch(path, 0, first, { "upload-checksum": sum("sha1", first) })).status).toBe(204);
    const wrong = await patch(path, 20_000, bytes.slice(20_000), { "upload-checksum": sum("sha256", first) });
    expect([wrong.status, await offsetOf(path)]).toEqual([460, 20_000]);
    expect((await patch(path, 20_000, "x", { "upload-checksum": "crc9 AAAA" })).status).toBe(400);
    const rest = bytes.slice(20_000);
    const last = await patch(path, 20_000, rest, { "upload-checksum": sum("md5", rest) });
    // The whole has its own hash, though it had to be read again.
    expect(await last.json()).toMatchObject({ sha256: sha256(bytes) });
  });

  test("an append with a checksum that breaks off is as if it had never come, also after a restart", async () => {
    const path = await create(1000);
    await patch(path, 0, bytesOf(100));
    const socket = connect(lab.port, "127.0.0.1");
    socket.write(
      `PATCH ${path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: ${OFFSET}\r\nUpload-Offset: 100\r\n` +
        `Upload-Checksum: sha1 ${btoa("x".repeat(20))}\r\nContent-Length: 900\r\n\r\n${"a".repeat(300)}`,
    );
    await until(() => lab.sizeOf(path) === 400, "the bytes on the disk");
    socket.destroy();
    expect(await offsetOf(path)).toBe(100);
    await lab.restart();
    expect(await offsetOf(path)).toBe(100);
  });

  test("expiration", async () => {
    const path = await create(10);
    await patch(path, 0, "abc");
    lab.ahead += 59_000;
    expect(await offsetOf(path)).toBe(3);
    lab.ahead += 2_000;
    expect((await ask("HEAD", path)).status).toBe(404);
    expect((await patch(path, 3, "abc")).status).toBe(404);
  });

  test("termination, also of what is being sent", async () => {
    const path = await create(1000);
    const socket = connect(lab.port, "127.0.0.1");
    let answer = "";
    socket.on("data", (data) => {
      answer += data;
    });
    socket.write(
      `PATCH ${path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: ${OFFSET}\r\nUpload-Offset: 0\r\nContent-Length: 900\r\n\r\nabc`,
    );
    await until(() => lab.sizeOf(path) === 3, "the bytes on the disk");
    expect((await ask("DELETE", path)).status).toBe(204);
    expect(lab.files()).toEqual([]);
    await until(() => answer.startsWith("HTTP/1.1 409"), "the answer to the other");
    expect((await ask("HEAD", path)).status).toBe(404);
    socket.destroy();
  });

  test("concatenation: parts at the same time, and the whole is the call", async () => {
    const bytes = bytesOf(90_000);
    const cuts = [0, 40_000, 41_000, 90_000];
    const parts = await Promise.all(
      [0, 1, 2].map(async (i) => {
        const piece = bytes.slice(cuts[i], cuts[i + 1]);
        const path = await create(piece.length, { "upload-concat": "partial" });
        expect((await patch(path, 0, piece)).status).toBe(204);
        return path;
      }),
    );
    expect((await ask("HEAD", parts[0]!)).headers.get("upload-concat")).toBe("partial");
    const concat = `final;${parts.map((path) => `${lab.url}${path}`).join(" ")}`;
    const headers = { "upload-concat": concat, "upload-metadata": metadata({ method: "files/hash" }) };
    const whole = await ask("POST", "/uploads", headers);
    expect(whole.status).toBe(201);
    expect(await whole.json()).toMatchObject({ size: 90_000, sha256: sha256(bytes) });
    const path = whole.headers.get("location")!;
    const head = await ask("HEAD", path);
    expect([head.headers.get("upload-concat"), head.headers.get("upload-length")]).toEqual([concat, "90000"]);
    expect((await patch(path, 90_000, "x")).status).toBe(403);
    expect((await ask("HEAD", parts[0]!)).status).toBe(404);
  });

  test("parts that are none, or not full", async () => {
    const part = await create(5, { "upload-concat": "partial" });
    const other = await create(5);
    expect((await ask("POST", "/uploads", { "upload-concat": `final;${part}` })).status).toBe(409);
    await patch(part, 0, "abcde");
    for (const concat of [`final;${other}`, "final;/uploads/none", "final;", `final;${part} ${part}`, "half"]) {
      expect([concat, (await ask("POST", "/uploads", { "upload-concat": concat })).status]).toEqual([concat, 400]);
    }
    expect(await offsetOf(part)).toBe(5);
  });
});

describe("one at a time", () => {
  function stalled(path: string, offset: number, bytes: string) {
    const socket = connect(lab.port, "127.0.0.1");
    const state = { socket, answer: "" };
    socket.on("data", (data) => {
      state.answer += data;
    });
    socket.on("error", () => {});
    socket.write(
      `PATCH ${path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: ${OFFSET}\r\nUpload-Offset: ${offset}\r\nContent-Length: 500\r\n\r\n${bytes}`,
    );
    return state;
  }

  for (const how of ["HEAD", "PATCH"] as const) {
    test(`${how} goes on where a dead connection has got to`, async () => {
      const path = await create(1000);
      const dead = stalled(path, 0, "a".repeat(123));
      await until(() => lab.sizeOf(path) === 123, "the bytes on the disk");
      if (how === "HEAD") {
        expect(await offsetOf(path)).toBe(123);
        expect((await patch(path, 123, "b".repeat(877))).status).toBe(200);
      } else {
        const refused = await patch(path, 0, "b");
        expect([refused.status, refused.headers.get("upload-offset")]).toEqual([409, "123"]);
        expect((await patch(path, 123, "b")).status).toBe(204);
      }
      await until(() => dead.answer.startsWith("HTTP/1.1 409"), "the answer to the dead one");
      expect(dead.answer).toContain("aborted");
    });
  }

  test("of many appends at the same offset one wins each byte", async () => {
    const bytes = bytesOf(400_000);
    const path = await create(bytes.length);
    let offset = 0;
    let wins = 0;
    while (offset < bytes.length) {
      const piece = bytes.slice(offset, offset + 50_000);
      const answers = await Promise.all([1, 2, 3, 4].map(() => patch(path, offset, piece)));
      const won = answers.filter(({ status }) => status < 300);
      expect(won.length).toBeLessThanOrEqual(1);
      wins += won.length;
      for (const { status } of answers) expect([200, 204, 409]).toContain(status);
      const head = await ask("HEAD", path);
      offset = Number(head.headers.get("upload-offset"));
    }
    expect(wins).toBeGreaterThan(0);
    const name = path.slice(1);
    const json = await (await lab.fetch(`/${name}`)).json();
    expect(json).toMatchObject({ offset: bytes.length, sha256: sha256(bytes) });
  });
});

test("whatever comes in whatever order, what is there is a beginning of the file", async () => {
  for (const seed of [1, 2, 3, 4]) {
    const random = seeded(seed);
    const bytes = bytesOf(200_000, seed);
    const path = await create(bytes.length);
    let least = 0;
    const step = async (): Promise<void> => {
      const at = random() < 0.6 ? least : Math.floor(random() * bytes.length);
      const piece = bytes.slice(at, at + 1 + Math.floor(random() * 30_000));
      const right = `sha256 ${new Bun.CryptoHasher("sha256").update(piece).digest("base64")}`;
      const sum = random() < 0.3 ? { "upload-checksum": random() < 0.5 ? right : `md5 ${btoa("wrong")}` } : {};
      const told = random() < 0.3 ? await ask("HEAD", path) : await patch(path, at, piece, sum);
      const offset = told.headers.get("upload-offset");
      expect([200, 204, 409, 460]).toContain(told.status);
      if (told.status < 300) least = Math.max(least, Number(offset));
    };
    for (let round = 0; round < 60 && least < bytes.length; round++) {
      await Promise.all(Array.from({ length: 1 + Math.floor(random() * 4) }, step));
      const offset = await offsetOf(path);
      // What was acknowledged stays.
      expect(offset).toBeGreaterThanOrEqual(least);
      least = offset;
      const there = await Bun.file(`${lab.folder}/${path.slice(9)}.bin`).bytes();
      expect(sha256(there)).toBe(sha256(bytes.slice(0, offset)));
    }
    if (least < bytes.length) await patch(path, least, bytes.slice(least));
    expect(await (await lab.fetch(path)).json()).toMatchObject({ complete: true, sha256: sha256(bytes) });
  }
});

describe("tus-js-client", () => {
  const send = (file: Uint8Array, options: Partial<ConstructorParameters<typeof Upload>[1]>) =>
    new Promise<{ body: string; url: string }>((resolve, reject) => {
      const upload = new Upload(Buffer.from(file) as never, {
        endpoint: `${lab.url}/uploads`,
        retryDelays: [10, 50, 100],
        onSuccess: ({ lastResponse }) => resolve({ body: lastResponse.getBody(), url: upload.url! }),
        onError: reject,
        ...options,
      });
      upload.start();
    });

  test("one file, in chunks, for a method", async () => {
    const bytes = bytesOf(1_000_000);
    const { body, url } = await send(bytes, {
      chunkSize: 300_000,
      metadata: { filename: "a.bin", filetype: "", method: "files/hash", input: '{"width":9}' },
    });
    expect(JSON.parse(body)).toMatchObject({ sha256: sha256(bytes), width: 9, name: "a.bin" });
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/uploads\/u/);
  });

  test("with the creation, and a length that comes later", async () => {
    const bytes = bytesOf(500_000);
    const whole = await send(bytes, { uploadDataDuringCreation: true, metadata: { method: "files/hash" } });
    expect(JSON.parse(whole.body)).toMatchObject({ sha256: sha256(bytes) });
    const later = await send(bytes, {
      uploadLengthDeferred: true,
      chunkSize: 200_000,
      metadata: { method: "files/hash" },
    });
    expect(JSON.parse(later.body)).toMatchObject({ sha256: sha256(bytes) });
  });

  test("in parallel, concatenated", async () => {
    const bytes = bytesOf(900_000);
    const { body } = await send(bytes, { parallelUploads: 3, metadata: { method: "files/hash" } });
    expect(JSON.parse(body)).toMatchObject({ sha256: sha256(bytes) });
  });

  test("a refusal is told, and not tried again", async () => {
    const failed = await send(jpegOf(100), {
      metadata: { method: "files/photo", filetype: "text/plain", input: '{"title":"t"}' },
    }).catch((thrown: Error) => thrown);
    expect(String(failed)).toContain("must be image/jpeg");
  });
});
