/** One process with five kinds of clients' state in it; it is killed, and started again on the same ports and disk. */

import { Database } from "bun:sqlite";
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer } from "node:net";
import { join } from "node:path";
import { createCore, httpHandler, serve, sqliteStore } from "../../../src/server.ts";
import { serveProgram } from "../../wire/program.ts";
import { story } from "./story.ts";

export const PORTS = { tcp: 7_001, web: 7_002, backtalk: 7_003 } as const;

serveProgram({
  async serve(address: string, directory: string, secret: string): Promise<void> {
    tcp(address);
    web(address, join(directory, "sessions.sqlite"), secret);
    const store = await sqliteStore({ path: join(directory, "backtalk.sqlite") });
    const core = createCore([story], { store });
    await serve({ hostname: address, port: PORTS.backtalk, fetch: httpHandler(core), limits: core.limits });
    await core.start();
  },
});

/** A session of its own kind: the connection is the state. Each line is answered by how many there were. */
function tcp(address: string): void {
  createServer((socket) => {
    let lines = 0;
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      for (const byte of bytes) if (byte === 10) socket.write(`${++lines}\n`);
    });
  }).listen(PORTS.tcp, address);
}

/** Three ways to know who it is: memory of this process, a token that is signed, a row in a file. */
function web(address: string, file: string, secret: string): void {
  const sessions = new Set<string>();
  const database = new Database(file, { create: true });
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = FULL");
  database.run("CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY)");
  const sign = (name: string) => createHmac("sha256", secret).update(name).digest("hex");
  const login: Record<string, () => string> = {
    memory() {
      const id = randomUUID();
      sessions.add(id);
      return id;
    },
    token: () => `ann.${sign("ann")}`,
    store() {
      const id = randomUUID();
      database.run("INSERT INTO session VALUES (?)", [id]);
      return id;
    },
  };
  const isKnown: Record<string, (shown: string) => boolean> = {
    memory: (shown) => sessions.has(shown),
    token(shown) {
      const [name = "", signature = ""] = shown.split(".");
      const [given, right] = [Buffer.from(signature), Buffer.from(sign(name))];
      return given.length === right.length && timingSafeEqual(given, right);
    },
    store: (shown) => database.query("SELECT 1 FROM session WHERE id = ?").get(shown) !== null,
  };
  Bun.serve({
    hostname: address,
    port: PORTS.web,
    routes: {
      "/login/:kind": (request) => {
        const make = login[request.params.kind];
        return make ? new Response(make()) : new Response(null, { status: 404 });
      },
      "/me/:kind": (request) => {
        const known = isKnown[request.params.kind]?.(request.headers.get("x-session") ?? "");
        return new Response(null, { status: known ? 200 : 401 });
      },
      "/slow": async () => {
        await Bun.sleep(1_000);
        return new Response("done");
      },
    },
  });
}
