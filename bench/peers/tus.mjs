/** tus on @tus/server with its file store: under Node on its own HTTP server, under Bun on Bun.serve. */
import { createServer } from "node:http";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";
import { options, ready } from "./shared.mjs";

const { directory } = options();
const server = new Server({ path: "/uploads", datastore: new FileStore({ directory }), relativeLocation: true });

if (process.versions.bun) {
  const { port } = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    maxRequestBodySize: 8 * 1024 ** 3,
    fetch: (request) => server.handleWeb(request),
  });
  ready({ port });
} else {
  const http = createServer((request, response) => server.handle(request, response));
  http.listen(0, "127.0.0.1", () => ready({ port: http.address().port }));
}
