/** Uploads over a bad line, by clients that others have written, through kills of the server: what arrives is what was sent. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Upload } from "tus-js-client";
import { createClient } from "../../src/client/index.ts";
import { fileLayer, sendFile } from "../../src/uploads/client.ts";
import { bytesOf, MiB, sha256 } from "../../src/uploads/testing.ts";
import { seeded } from "../../src/wire/seed.ts";
import { tool } from "../clients/setup.ts";
import { tick, until } from "../transport/world.ts";
import { type Breaker, breaker } from "./breaker.ts";
import { UploadServer } from "./process.ts";
import type files from "./service.ts";

const server = new UploadServer();
beforeAll(async () => {
  await server.start();
}, 60_000);
afterAll(() => server.remove());

const SIZE = 3 * MiB;
const bytes = bytesOf(SIZE, 5);
const expected = { size: SIZE, sha256: sha256(bytes) };

async function throughBreaks(seed: number, run: (url: string, line: Breaker) => Promise<unknown>): Promise<unknown> {
  const random = seeded(seed);
  const line = await breaker(server.port, () => Math.floor(1000 + random() * 500_000));
  try {
    const result = await run(`http://127.0.0.1:${line.port}`, line);
    expect([seed, line.breaks > 3]).toEqual([seed, true]);
    return result;
  } finally {
    await line.close();
  }
}

describe("a line that breaks at places chosen by seed", () => {
  for (const seed of [1, 2, 3]) {
    test(`tus-js-client, seed ${seed}`, async () => {
      const body = await throughBreaks(
        seed,
        (url) =>
          new Promise<string>((resolve, reject) => {
            new Upload(Buffer.from(bytes) as never, {
              endpoint: `${url}/uploads`,
              metadata: { method: "files/hash" },
              retryDelays: Array.from({ length: 100 }, () => 5),
              // What was created and not heard of is found again by its key.
              headers: { "Idempotency-Key": `"tus-${seed}"` },
              chunkSize: 1_000_000,
              onSuccess: ({ lastResponse }) => resolve(lastResponse.getBody()),
              onError: reject,
            }).start();
          }),
      );
      expect(JSON.parse(body as string)).toMatchObject(expected);
    }, 60_000);

    test(`backtalk/upload, seed ${seed}`, async () => {
      const result = await throughBreaks(100 + seed, async (url, line) => {
        const layer = fileLayer(url, { chunkBytes: 1_000_000 });
        const client = createClient<typeof files>(url, { layers: [layer] });
        const file = await sendFile(url, new Blob([bytes]), { chunkBytes: 700_000 });
        line.heal();
        const result = await client.files.hash({ file });
        client.close();
        return result;
      });
      expect(result).toMatchObject(expected);
    }, 60_000);
  }

  test.skipIf(tool("curl") === undefined)(
    "curl, and the tools of a shell",
    async () => {
      const path = `${server.folder}/file.bin`;
      await Bun.write(path, bytes);
      const script = `
      set -u
      new() { curl -s -i -X POST -H 'Upload-Complete: ?0' -H 'Upload-Length: ${SIZE}' -H 'Idempotency-Key: curl-1' "$URL/files/hash"; }
      at=""; while [ -z "$at" ]; do at=$(new | tr -d '\\r' | sed -n 's/^location: //ip'); done
      offset() { curl -s -I "$URL$at" | tr -d '\\r' | sed -n 's/^upload-offset: //ip'; }
      for try in $(seq 100); do
        from=$(offset); [ -z "$from" ] && continue
        answer=$(tail -c +$((from + 1)) "$FILE" | curl -s -X PATCH "$URL$at" -H 'Upload-Complete: ?1' -H "Upload-Offset: $from" \\
          -H 'Content-Type: application/partial-upload' --data-binary @-) && [ -n "$answer" ] && break
      done
      echo "$answer"`;
      const result = await throughBreaks(7, async (url) => {
        const child = Bun.spawn(["bash", "-c", script], {
          env: { ...process.env, URL: url, FILE: path },
          stdout: "pipe",
        });
        return await new Response(child.stdout).text();
      });
      expect(JSON.parse(result as string)).toMatchObject(expected);
    },
    60_000,
  );
});

describe("kill -9 of the server", () => {
  test("again and again, while tus-js-client sends", async () => {
    const random = seeded(11);
    const large = bytesOf(8 * MiB, 6);
    let isSent = false;
    const sent = new Promise<string>((resolve, reject) => {
      const upload = new Upload(Buffer.from(large) as never, {
        endpoint: `${server.url}/uploads`,
        metadata: { method: "files/hash" },
        headers: { "Idempotency-Key": '"tus-kills"' },
        retryDelays: Array.from({ length: 1000 }, () => 20),
        chunkSize: 500_000,
        onSuccess: () => {
          isSent = true;
          resolve(upload.url!);
        },
        onError: reject,
      });
      upload.start();
    });
    for (let kill = 0; kill < 4 && !isSent; kill++) {
      await tick(20 + random() * 60);
      await server.kill();
      await server.start();
    }
    // The last answer may be lost with its connection: the call has the id of the upload.
    const call = (await sent).replace("/uploads/u", "/calls/c");
    let state: { state?: string; result?: unknown } = {};
    await until(async () => {
      state = (await (await fetch(call, { headers: { prefer: "wait=5" } })).json()) as typeof state;
      return state.state === "done";
    }, "the end of the call");
    expect(state.result).toMatchObject({ size: large.length, sha256: sha256(large) });
  }, 60_000);

  test("while bytes come: the client goes on where the disk is, and there is one call", async () => {
    const large = bytesOf(24 * MiB, 9);
    const told: number[] = [];
    const sending = sendFile(server.url, new Blob([large]), {
      chunkBytes: 2 * MiB,
      onProgress: ({ sent }) => told.push(sent),
    });
    for (const share of [0.2, 0.6]) {
      await until(() => (told.at(-1) ?? 0) > share * large.length, "progress");
      await server.kill();
      const before = told.at(-1)!;
      await server.start();
      await until(() => told.at(-1)! > before, "progress after the kill");
    }
    const name = await sending;
    // What was acknowledged was never asked for again.
    expect(told).toEqual([...told].sort((a, b) => a - b));
    const answer = await fetch(`${server.url}/files/hash`, { method: "POST", body: JSON.stringify({ file: name }) });
    expect(await answer.json()).toMatchObject({ size: large.length, sha256: sha256(large) });
    expect((await fetch(`${server.url}/${name}`, { method: "DELETE" })).status).toBe(204);
  }, 60_000);

  test("while the call runs: it runs again with its upload, and then the bytes go", async () => {
    const started = await fetch(`${server.url}/files/hash?input=${encodeURIComponent('{"pauseMs":1500}')}`, {
      method: "POST",
      body: bytes,
      headers: { "content-type": "text/plain", prefer: "respond-async" },
    });
    const call = started.headers.get("location")!;
    await tick(100);
    await server.kill();
    await server.start();
    const state = await (await fetch(server.url + call, { headers: { prefer: "wait=20" } })).json();
    expect(state).toMatchObject({ state: "done", result: { ...expected, attempt: 2 } });
    const own = `u${call.slice("/calls/c".length)}`;
    await until(() => server.files().every((file) => !file.startsWith(own)), "the bytes to go");
  }, 60_000);
});

test("backtalk call --file goes on after Ctrl-C, and makes the call over another transport", async () => {
  const path = `${server.folder}/cli.bin`;
  const large = bytesOf(96 * MiB, 4);
  await Bun.write(path, large);
  const main = new URL("../../cli/main.ts", import.meta.url).pathname;
  const args = [
    process.execPath,
    main,
    "call",
    server.url,
    "files.hash",
    "--file",
    `file=@${path}`,
    "--via",
    "websocket",
  ];
  const first = Bun.spawn(args, { stdout: "pipe", stderr: "pipe" });
  await until(
    () => server.files().some((name) => name.endsWith(".bin") && Bun.file(`${server.uploads}/${name}`).size > 8 * MiB),
    "some of it",
  );
  first.kill("SIGINT");
  const said = await new Response(first.stderr).text();
  expect([await first.exited, said]).toEqual([expect.any(Number), expect.stringContaining("the same command goes on")]);
  expect(first.exitCode).not.toBe(0);
  const second = Bun.spawn(args, { stdout: "pipe", stderr: "pipe" });
  const out = await new Response(second.stdout).text();
  expect(JSON.parse(out.trim())).toMatchObject({ size: large.length, sha256: sha256(large) });
}, 60_000);
