/** The quotas of callers that have not said who they are: for each address. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCore } from "../create.ts";
import { memoryStore } from "../stores/memory/store.ts";
import { httpHandler } from "../transports/http/server.ts";
import { uploads } from "./part.ts";
import { bytesOf, filesService, Seen } from "./testing.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "backtalk-quota-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serve() {
  const store = memoryStore();
  const part = uploads({ directory: folder });
  const core = createCore(part.services([filesService(new Seen())]), {
    store,
    layers: [part.layer],
    limits: { uploadsPerPrincipal: 2, uploadBytesPerPrincipal: 1_000 },
    authenticate: ({ bearer }) => ({ id: bearer ?? "" }),
  });
  await core.start();
  const handler = httpHandler(core, { mounts: part.mounts(core) });
  const started = await part.start(core);
  const ask = async (address: string, method: string, path: string, rest: { size?: number; user?: string } = {}) => {
    const { size, user } = rest;
    const headers = { "content-type": "text/plain", ...(user !== undefined && { authorization: `Bearer ${user}` }) };
    const body = size === undefined ? null : bytesOf(size);
    const request = new Request(`http://localhost${path}`, { method, body, headers });
    const response = (await handler(request, { requestIP: () => ({ address }), timeout() {} }))!;
    const json = (await response.json().catch(() => ({}))) as { upload?: string; limit?: string };
    return { status: response.status, ...json };
  };
  const send = (address: string, size: number, user?: string) =>
    ask(address, "POST", "/uploads", { size, ...(user !== undefined && { user }) });
  const stop = async () => {
    await started.stop();
    await core.close();
    await store.close();
  };
  return { ask, send, stop };
}

test("each address has its own, an address of IPv6 is its first 64 bits; also after a restart", async () => {
  let server = await serve();
  const made: string[] = [];
  for (const address of ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"]) {
    const { status, upload } = await server.send(address, 10);
    expect([address, status]).toEqual([address, 201]);
    made.push(upload!);
  }
  for (const round of ["before", "after"]) {
    for (const address of ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::3"]) {
      expect([round, address, await server.send(address, 10)]).toMatchObject([
        round,
        address,
        { status: 429, limit: "uploadsPerPrincipal" },
      ]);
    }
    // A name is no address, whatever it looks like.
    for (const user of ["192.0.2.1", "@192.0.2.1"]) {
      const { status, upload } = await server.send("192.0.2.1", 10, user);
      expect([user, status]).toEqual([user, 201]);
      expect((await server.ask("192.0.2.1", "DELETE", `/${upload}`, { user })).status).toBe(204);
    }
    const elsewhere = await server.send("2001:db8:0:1::1", 900);
    expect(elsewhere.status).toBe(201);
    expect(await server.send("2001:db8:0:1::2", 900)).toMatchObject({ status: 507, limit: "uploadBytesPerPrincipal" });
    expect((await server.ask("2001:db8:0:1::2", "DELETE", `/${elsewhere.upload}`)).status).toBe(204);
    await server.stop();
    server = await serve();
  }
  // Whoever knows its name has it, from any address; the room that comes back is that of who has sent it.
  expect((await server.ask("192.0.2.99", "DELETE", `/${made[0]}`)).status).toBe(204);
  expect((await server.send("192.0.2.1", 10)).status).toBe(201);
  expect((await server.send("192.0.2.1", 10)).status).toBe(429);
  await server.stop();
});
