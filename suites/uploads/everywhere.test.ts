/** An upload in the input of a call means the same on every transport; and it is sent over every version of HTTP. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { Place, type Server, serveIn } from "../../cli/testing.ts";
import { bytesOf, MiB, sha256 } from "../../src/uploads/testing.ts";

const PORTS = ["grpc-port", "grpc-tls-port", "tcp-port", "tcp-tls-port", "udp-port"];
const place = new Place();
const bytes = bytesOf(3 * MiB);
let server: Server;
beforeAll(async () => {
  const service = fileURLToPath(new URL("service.ts", import.meta.url));
  server = await serveIn(
    place,
    service,
    PORTS.flatMap((port) => [`--${port}`, "0"]),
  );
}, 60_000);
afterAll(async () => {
  server.child.kill();
  await server.child.exited;
  place.remove();
});

for (const protocol of ["http1.1", "http2", "http3"]) {
  test(`${protocol}: whole, in parts, and refused`, async () => {
    const ask = (path: string, init: RequestInit) => {
      const url = server.https.replace("//localhost", "//127.0.0.1") + path;
      return fetch(url, { ...init, protocol, tls: { rejectUnauthorized: false } } as unknown as RequestInit);
    };
    const whole = await ask("/files/hash", { method: "POST", body: bytes, headers: { "content-type": "image/x-own" } });
    expect(await whole.json()).toMatchObject({ sha256: sha256(bytes) });
    const made = await ask("/files/hash", { method: "POST", headers: { "upload-complete": "?0" } });
    const path = made.headers.get("location")!;
    const append = (offset: number, isLast: boolean, body: Uint8Array<ArrayBuffer>) =>
      ask(path, {
        method: "PATCH",
        body,
        headers: {
          "content-type": "application/partial-upload",
          "upload-offset": String(offset),
          "upload-complete": isLast ? "?1" : "?0",
        },
      });
    expect((await append(0, false, bytes.slice(0, MiB))).status).toBe(204);
    expect((await append(5, false, bytes.slice(0, 10))).status).toBe(409);
    expect(await (await append(MiB, true, bytes.slice(MiB))).json()).toMatchObject({ sha256: sha256(bytes) });
  });
}

test("every transport takes the name of an upload, and refuses the same ones with the same fault", async () => {
  const made = await fetch(`${server.http}/uploads`, { method: "POST", body: bytes });
  const { upload } = (await made.json()) as { upload: string };
  const ways = new Map(server.addresses.map(({ via, url }) => [via, url]));
  for (const via of ["http1", "http2", "sse", "long-poll", "poll", "websocket"]) {
    ways.set(via, via === "http2" ? server.https : server.http);
  }
  const seen: string[] = [];
  for (const [via, url] of ways) {
    const call = (file: string) =>
      place.run(["call", url, "files.hash", JSON.stringify({ file }), "--via", via, "--quiet"]);
    const right = await call(upload);
    if (/not one of|is not a transport|must be one of/.test(right.err)) continue;
    expect([via, right.code, right.err]).toEqual([via, 0, ""]);
    expect(right.out).toContain(sha256(bytes));
    const wrong = await call(`uploads/u${"0".repeat(26)}`);
    expect([via, wrong.err]).toEqual([via, expect.stringContaining("invalid_argument")]);
    expect(wrong.err).toContain("file: there is no such upload");
    seen.push(via);
  }
  expect(seen).toEqual(expect.arrayContaining(["http1", "http2", "sse", "websocket", "grpc", "tcp", "udp"]));
}, 60_000);
