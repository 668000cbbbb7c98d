/** Serves everything that is taken apart: HTTP in its three versions, WebSocket, bare TCP and UDP. */
import { createServer } from "node:net";
import { LIMITS } from "../../../src/contract/index.ts";
import { serve } from "../../../src/net/serve.ts";
import { serveProgram } from "../../wire/program.ts";

/** How long the server of bare TCP goes on after the client has finished, in milliseconds. */
const LINGER_MS = 60;

serveProgram({
  /** Ports of the listeners without and with TLS. */
  async http(address: string, pem: { cert: string; key: string }): Promise<{ plain: number; tls: number }> {
    const { listeners } = await serve({
      hostname: address,
      port: 0,
      tls: { port: 0, ...pem },
      limits: LIMITS,
      async fetch(request, server) {
        if (server.upgrade(request, { data: undefined })) return undefined;
        const body = await request.text();
        return Response.json({ read: body.length });
      },
      websocket: { message: (socket, message) => void socket.send(message) },
    });
    const [plain, tls] = listeners.map(({ port }) => port);
    return { plain: plain!, tls: tls! };
  },
  /**
   * Takes bytes until the client has no more, and then says "done"; with `isLate` a moment afterwards, so
   * that its own end is a packet of its own.
   */
  tcp(address: string, isLate: boolean): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      socket.resume();
      socket.on("end", () => {
        if (isLate) setTimeout(() => socket.end("done"), LINGER_MS);
        else socket.end("done");
      });
    });
    return new Promise((resolve) => {
      server.listen(0, address, () => resolve((server.address() as { port: number }).port));
    });
  },
  async udp(address: string): Promise<number> {
    const { port } = await Bun.udpSocket({
      hostname: address,
      socket: { data: (socket, data, from, at) => void socket.send(data, from, at) },
    });
    return port;
  },
});
