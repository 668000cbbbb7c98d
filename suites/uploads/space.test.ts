/** Uploads and what is scarce: memory, which they must not take, and disks, which can be full. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytesOf, MiB, sha256 } from "../../src/uploads/testing.ts";
import { tool } from "../clients/setup.ts";
import { until } from "../transport/world.ts";
import { UploadServer } from "./process.ts";

/** The first one warms up what is there once for all. */
const SMALL = 8 * MiB;
const LARGE = 256 * MiB;
/** Of memory: pieces on their way, and what the platform's collector has not looked at yet. */
const SLACK = 80 * MiB;

test.skipIf(tool("curl") === undefined)(
  "the memory of the server does not grow with an upload, however it comes",
  async () => {
    const server = await new UploadServer().start();
    try {
      const path = join(server.folder, "file");
      const piece = bytesOf(MiB);
      const expected = new Map<number, string>();
      for (const size of [SMALL, LARGE]) {
        const hash = new Bun.CryptoHasher("sha256");
        const writer = Bun.file(path + size).writer();
        for (let at = 0; at < size; at += MiB) {
          hash.update(piece);
          writer.write(piece);
          await writer.flush();
        }
        await writer.end();
        expected.set(size, hash.digest("hex"));
      }
      const post = ["-X", "POST", "-H", "content-type: application/octet-stream"];
      const ways: readonly [string, (file: string) => string[]][] = [
        ["a body", (file) => [...post, "-T", file]],
        ["HTTP/2", (file) => [...post, "--http2-prior-knowledge", "-T", file]],
        ["a form", (file) => ["-F", `file=@${file}`]],
      ];
      for (const [what, args] of ways) {
        const send = async (size: number) => {
          const child = Bun.spawn(["curl", "-sS", ...args(path + size), `${server.url}/files/hash`], {
            stdout: "pipe",
          });
          const answer = JSON.parse(await new Response(child.stdout).text()) as { sha256: string };
          expect([what, answer.sha256]).toEqual([what, expected.get(size)!]);
        };
        await send(SMALL);
        const before = server.rss();
        let most = 0;
        const watching = setInterval(() => {
          most = Math.max(most, server.rss());
        }, 20);
        await send(LARGE);
        clearInterval(watching);
        expect([what, most - before < SLACK || `${Math.round((most - before) / MiB)} MiB more`]).toEqual([what, true]);
      }
      await until(() => server.files().length === 0, "an empty directory");
      // What is refused before it was read is not read, and not kept.
      const before = server.rss();
      for (const target of ["/files/hash?member=none", "/files/hash?input=5", "/uploads/none"]) {
        const method = target.startsWith("/uploads") ? "PATCH" : "POST";
        const args = ["-sS", "-X", method, "-H", "content-type: image/x", "-T", path + LARGE, server.url + target];
        let text = "";
        // A client that still writes when the connection closes can lose the answer (RFC 9112 §9.6).
        for (let tries = 0; tries < 5 && text === ""; tries++) {
          const child = Bun.spawn(["curl", ...args], { stdout: "pipe", stderr: "ignore" });
          text = await new Response(child.stdout).text();
        }
        expect(text).toContain('"code"');
      }
      expect(server.rss() - before).toBeLessThan(SLACK);
    } finally {
      await server.remove();
    }
  },
  120_000,
);

test("a full disk: a clear fault, nothing left behind, and it goes on when there is room", async () => {
  const folder = mkdtempSync(join(tmpdir(), "backtalk-disk-"));
  const disk = join(folder, "disk");
  mkdirSync(disk);
  const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], { stderr: "ignore" });
  if (mounted.exitCode !== 0) {
    console.log("skipped: mounting a small disk needs root");
    rmSync(folder, { recursive: true });
    return;
  }
  const server = await new UploadServer([], join(disk, "uploads")).start();
  try {
    const large = bytesOf(6 * MiB);
    const form = new FormData();
    form.append("file", new Blob([large]), "f");
    const created = await fetch(`${server.url}/uploads`, { method: "POST", headers: { "upload-complete": "?0" } });
    const partial = created.headers.get("location")!;
    const append = { "content-type": "application/partial-upload", "upload-offset": "0", "upload-complete": "?1" };
    const tus = {
      "tus-resumable": "1.0.0",
      "upload-length": String(large.length),
      "content-type": "application/offset+octet-stream",
    };
    for (const [what, path, init] of [
      ["a body", "/files/hash", { method: "POST", body: large, headers: { "content-type": "text/plain" } }],
      ["a form", "/files/hash", { method: "POST", body: form }],
      ["the draft", partial, { method: "PATCH", body: large, headers: append }],
      ["tus", "/uploads", { method: "POST", body: large, headers: tus }],
    ] as const) {
      const response = await fetch(server.url + path, init);
      const fault = (await response.json()) as Record<string, unknown>;
      expect([what, response.status, fault["code"], fault["limit"]]).toEqual([what, 507, "resource_exhausted", "disk"]);
      if (what !== "a body" && what !== "a form")
        expect((await fetch(server.url + partial, { method: "HEAD" })).status).toBe(404);
      await until(
        () => server.files().filter((name) => !partial.includes(name.slice(0, 27))).length === 0,
        `nothing left of ${what}`,
      );
    }
    expect(server.files()).toEqual([]);
    const small = bytesOf(2 * MiB);
    const answer = await fetch(`${server.url}/files/hash`, {
      method: "POST",
      body: small,
      headers: { "content-type": "text/plain" },
    });
    expect(await answer.json()).toMatchObject({ sha256: sha256(small) });
  } finally {
    await server.remove();
    Bun.spawnSync(["umount", disk]);
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
