/** Uploads in the input of calls, over any transport: who may use them, what fits, and how long they are there. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { faultOf, until } from "../../suites/transport/world.ts";
import { createClient } from "../client/index.ts";
import type { Peer } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import { memoryStore } from "../stores/memory/store.ts";
import { httpPeer } from "../transports/http/client.ts";
import { memoryPeer } from "../transports/memory/client.ts";
import { websocketPeer } from "../transports/websocket/client.ts";
import { fileLayer, sendFile } from "./client.ts";
import { bytesOf, type filesService, jpegOf, Lab, MiB, sha256 } from "./testing.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await new Lab({ users: true, limits: { uploadBytes: 8 * MiB } }).start();
});
afterAll(() => lab.close());
afterEach(async () => {
  lab.ahead += 25 * 3_600_000;
  await lab.restart();
  expect(lab.files()).toEqual([]);
});

type Service = ReturnType<typeof filesService>;
const me = { token: "me" };

const peers: readonly [string, () => { peer: Peer; close: () => void }][] = [
  ["http", () => ({ peer: httpPeer({ url: lab.url, mode: "ndjson", ...me }), close() {} })],
  [
    "websocket",
    () => {
      const peer = websocketPeer({ url: lab.url, ...me });
      return { peer, close: () => peer.close() };
    },
  ],
  ["memory", () => ({ peer: memoryPeer(lab.running.core, me), close() {} })],
];

for (const [name, make] of peers) {
  test(`${name}: an upload is checked before its call is opened, and read by the handler`, async () => {
    const { peer, close } = make();
    try {
      const principal = { id: "me" };
      const call = async (to: string, input: unknown) => (await peer({ to, input, principal, via: "test" })).result();
      const bytes = bytesOf(200_000);
      const file = await sendFile(lab.url, new Blob([bytes]), me);
      const theirs = await sendFile(lab.url, new Blob(["x"]), { token: "you" });
      const jpeg = await sendFile(lab.url, new Blob([jpegOf(2 * MiB + 1)], { type: "image/jpeg" }), me);
      const open = await lab.fetch("/uploads", {
        method: "POST",
        headers: { authorization: "Bearer me", "upload-complete": "?0", "upload-length": "9" },
      });
      const partial = open.headers.get("location")!.slice(1);
      expect(await call("files/hash", { file, width: 2 })).toMatchObject({
        size: 200_000,
        sha256: sha256(bytes),
        width: 2,
      });
      expect(await call("files/whole", file)).toBe(200_000);
      expect(await call("files/two", { a: file, b: file })).toBe("200000 200000 undefined");
      const wrong: readonly [unknown, string, string][] = [
        [{ title: "t", image: theirs }, "image", "no such upload"],
        [{ title: "t", image: "uploads/u00000000000000000000000000" }, "image", "no such upload"],
        [{ title: "t", image: partial }, "image", "0 of 9"],
        [{ title: "t", image: jpeg }, "image", "more than 2097152 bytes"],
        [{ title: "t", image: file }, "image", "image/jpeg"],
        [{ title: "t", image: "/etc/passwd" }, "image", "name of an upload"],
        [{ title: "t", image: { id: "u" } }, "image", "name of an upload"],
        [{ title: "t" }, "image", "name of an upload"],
        [{ title: "t", image: `${jpeg}/../x` }, "image", "name of an upload"],
      ];
      for (const [input, path, message] of wrong) {
        const fault = await faultOf(() => call("files/photo", input), "invalid_argument");
        expect(fault.fields).toContainEqual({ path, message: expect.stringContaining(message) });
      }
      const twice = await faultOf(() => call("files/two", { a: theirs, b: partial }), "invalid_argument");
      expect(twice.fields!.map(({ path }) => path)).toEqual(["a", "b"]);
    } finally {
      close();
    }
  });
}

describe("the client", () => {
  test("a Blob in the input of a call is sent first, and once", async () => {
    const told: number[] = [];
    const layer = fileLayer(lab.url, { ...me, chunkBytes: 100_000, onProgress: ({ sent }) => told.push(sent) });
    const client = createClient<Service>(lab.url, { ...me, layers: [layer] });
    const bytes = bytesOf(350_000);
    const file = new File([bytes], "p.bin", { type: "text/x-own" });
    expect(await client.files.hash({ file })).toMatchObject({
      sha256: sha256(bytes),
      name: "p.bin",
      type: "text/x-own",
    });
    expect(told).toEqual([0, 100_000, 200_000, 300_000, 350_000]);
    expect(await client.files.hash({ file, width: 1 })).toMatchObject({ width: 1 });
    expect(told).toHaveLength(5);
    expect(await client.files.whole(new Blob(["four"]))).toBe(4);
    const failed = await faultOf(() => client.files.photo({ image: new Blob(["x"]), title: "t" }), "invalid_argument");
    expect(failed.fields![0]!.path).toBe("image");
    client.close();
  });

  test("a file that is named goes on in another process, and is sent once", async () => {
    const bytes = bytesOf(500_000);
    const abort = new AbortController();
    const first = sendFile(lab.url, new Blob([bytes]), {
      ...me,
      key: "mine",
      chunkBytes: 100_000,
      signal: abort.signal,
      onProgress: ({ sent }) => {
        if (sent === 200_000) abort.abort(new Fault("cancelled", "enough"));
      },
    });
    await faultOf(() => first, "cancelled");
    const told: number[] = [];
    const again = {
      ...me,
      key: "mine",
      chunkBytes: 100_000,
      onProgress: ({ sent }: { sent: number }) => told.push(sent),
    };
    const name = await sendFile(lab.url, new Blob([bytes]), again);
    expect(told[0]).toBe(200_000);
    expect(await sendFile(lab.url, new Blob([bytes]), again)).toBe(name);
    expect((await lab.fetch(`/${name}`, { headers: { authorization: "Bearer me" } })).status).toBe(200);
  });

  test("the server's refusals are its faults", async () => {
    const large = await faultOf(
      () => sendFile(lab.url, new Blob([new Uint8Array(8 * MiB + 1)]), me),
      "resource_exhausted",
    );
    expect(large.limit).toBe("uploadBytes");
    await faultOf(() => sendFile("http://127.0.0.1:1", new Blob(["x"]), { patienceMs: 100 }), "unavailable");
  });
});

describe("a restart", () => {
  const ask = (method: string, path: string, headers: Record<string, string> = {}, body?: BodyInit) =>
    lab.fetch(path, {
      method,
      headers: { authorization: "Bearer me", ...headers },
      ...(body !== undefined && { body }),
    });

  test("a call that runs again reads its upload again, and then it goes", async () => {
    lab.seen.close();
    const bytes = bytesOf(10_000);
    const started = await ask("POST", "/files/hash", { "content-type": "text/plain", prefer: "respond-async" }, bytes);
    const call = started.headers.get("location")!;
    await until(() => lab.seen.last, "the handler");
    await lab.restart();
    expect(lab.files()).toHaveLength(2);
    lab.seen.open();
    const state = (await (await ask("GET", call, { prefer: "wait=10" })).json()) as { attempt: number; result: object };
    expect(state).toMatchObject({ attempt: 2, result: { sha256: sha256(bytes) } });
    await until(() => lab.files().length === 0, "an empty directory");
  });

  test("what was complete when the server ended starts its call with the next one", async () => {
    const calls = lab.seen.calls;
    const created = await ask("POST", "/files/hash", { "upload-complete": "?0", "upload-length": "3" });
    const path = created.headers.get("location")!;
    // As after a kill between the last byte and the call.
    const record = Bun.file(join(lab.folder, `${path.slice(9)}.json`));
    await ask(
      "PATCH",
      path,
      { "content-type": "application/partial-upload", "upload-offset": "0", "upload-complete": "?0" },
      "abc",
    );
    const json = (await record.json()) as object;
    await lab.running.stop();
    await Bun.write(
      record,
      JSON.stringify({ ...json, type: "text/plain", completedAt: 1, sha256: sha256(new TextEncoder().encode("abc")) }),
    );
    await lab.start();
    const state = await ask("GET", `/calls/c${path.slice(10)}`, { prefer: "wait=10" });
    expect(await state.json()).toMatchObject({ state: "done", result: { size: 3 } });
    expect(lab.seen.calls).toBe(calls + 1);
    expect((await ask("HEAD", path)).headers.get("upload-complete")).toBe("?1");
  });

  test("tus: all bytes were there when the server was killed, so they are the call's", async () => {
    const tus = { "tus-resumable": "1.0.0", "upload-length": "3", "upload-metadata": `method ${btoa("files/hash")}` };
    const path = (await ask("POST", "/uploads", tus)).headers.get("location")!;
    await lab.running.stop();
    await Bun.write(join(lab.folder, `${path.slice(9)}.bin`), "abc");
    await lab.start();
    const state = await ask("GET", `/calls/c${path.slice(10)}`, { prefer: "wait=10" });
    expect(await state.json()).toMatchObject({ state: "done", result: { size: 3 } });
  });

  test("what cannot be read is not kept", async () => {
    const created = await ask("POST", "/uploads", { "upload-complete": "?0" });
    const path = created.headers.get("location")!;
    await lab.running.stop();
    await Bun.write(join(lab.folder, `${path.slice(9)}.json`), "{ broken");
    await Bun.write(join(lab.folder, "u11111111111111111111111111.bin"), "no record");
    await Bun.write(join(lab.folder, "u22222222222222222222222222.json.new"), "half a record");
    await lab.start();
    await until(() => lab.files().length === 0, "an empty directory");
    expect((await ask("HEAD", path)).status).toBe(404);
    rmSync(join(lab.folder, "none"), { force: true });
  });
});

test("who may call no method that takes files may send none", async () => {
  const other = await new Lab({
    users: true,
    authorize: ({ id }, { name }) => id === "all" || (id === "some" && name === "files/whole"),
  }).start();
  try {
    const send = async (user: string, path: string, headers: Record<string, string>) => {
      const init = { method: "POST", body: "x", headers: { authorization: `Bearer ${user}`, ...headers } };
      return (await other.fetch(path, init)).status;
    };
    const ways: readonly Record<string, string>[] = [
      { "content-type": "text/plain" },
      { "upload-complete": "?0" },
      { "tus-resumable": "1.0.0", "upload-length": "9" },
    ];
    for (const headers of ways) {
      expect(await send("none", "/uploads", headers)).toBe(403);
      expect(await send("some", "/files/hash", headers)).toBe(403);
      expect(await send("some", "/uploads", headers)).toBe(201);
      expect(await send("all", "/files/hash", headers)).toBeLessThan(202);
    }
    expect(await send("none", "/files/hash", { "content-type": "multipart/form-data; boundary=x" })).toBe(403);
    expect(other.seen.calls).toBe(1);
  } finally {
    await other.close();
  }
});

test("when its call is no longer kept an upload is gone, and its key is free again", async () => {
  const store = memoryStore();
  const other = await new Lab({ store, users: true }).start();
  const own = { authorization: "Bearer me" };
  const ask = async (method: string, path: string, headers: Record<string, string>, body?: string) => {
    const response = await other.fetch(path, { method, headers: { ...own, ...headers }, ...(body && { body }) });
    return [response.status, response.headers.get("location"), await response.text()] as const;
  };
  const draft = { "upload-draft-interop-version": "8", "upload-complete": "?1" };
  const whole = { ...draft, "content-type": "text/plain", "idempotency-key": '"draft"' };
  const partial = { ...draft, "content-type": "application/partial-upload", "upload-offset": "0" };
  const tus = { "tus-resumable": "1.0.0", "content-type": "application/offset+octet-stream" };
  const keyed = { ...tus, "upload-length": "5", "idempotency-key": '"tus"' };
  const ways: Record<string, () => Promise<readonly [number, string | null, string]>> = {
    body: () => ask("POST", "/files/hash", { "content-type": "text/plain", "idempotency-key": '"raw"' }, "hello"),
    draft: () => ask("POST", "/files/hash", whole, "hello"),
    tus: () => ask("POST", "/files/hash", keyed, "hello"),
  };
  try {
    const [, path] = await ask("POST", "/files/hash", { ...draft, "upload-complete": "?0" });
    expect((await ask("PATCH", path!, partial, "hello"))[0]).toBe(200);
    for (const [way, post] of Object.entries(ways)) {
      const first = await post();
      expect([way, first[0]]).toEqual([way, way === "tus" ? 201 : first[0]]);
      await until(() => other.files().every((name) => !name.endsWith(".bin")), `${way}: its bytes are gone`);
      const runs = other.seen.calls;
      if (way === "body") expect(await post()).toEqual(first);
      expect(other.seen.calls).toBe(runs);
      for (const { log } of (await store.list({ prefix: "calls/", limit: 10 })).logs) await store.trim(log, "all");
      const again = await post();
      expect([way, again[0], JSON.parse(again[2] || "{}")]).toEqual([way, first[0], JSON.parse(first[2] || "{}")]);
      expect(other.seen.calls).toBe(runs + 1);
    }
    expect((await ask("PATCH", path!, { ...partial, "upload-offset": "5" }))[0]).toBe(404);
  } finally {
    await other.close();
  }
});
