/** A TCP proxy that resets its connections: the network, when it fails. */
import { connect, createServer, type Socket } from "node:net";

export interface Cutter {
  /** Of a Unix socket 0. */
  readonly port: number;
  /** Of a Unix socket. */
  readonly path: string | undefined;
  /** Resets everything once so many bytes have come from the server, and accepts nothing more. */
  cutAfter(bytes: number): void;
  cut(): void;
  readonly isCut: boolean;
  close(): Promise<void>;
}

/**
 * @param target a port of this machine, or the path of a Unix socket
 * @param at where it listens itself (default any free port)
 */
export function cutter(target: number | string, at: number | string = 0): Promise<Cutter> {
  const sockets = new Set<Socket>();
  let left = Number.POSITIVE_INFINITY;
  let isCut = false;
  // Only TCP can reset.
  const end = (socket: Socket) => (typeof at === "string" ? socket.destroy() : socket.resetAndDestroy());
  const cut = (): void => {
    isCut = true;
    for (const socket of sockets) end(socket);
    sockets.clear();
  };
  const server = createServer((near) => {
    if (isCut) return void end(near);
    const far = typeof target === "string" ? connect(target) : connect(target, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      // A reset is what this is for; `close` follows every error.
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on("data", (data: Buffer) => {
      if (isCut) return;
      const part = data.subarray(0, Math.max(0, left));
      left -= data.length;
      if (left > 0) return void near.write(part);
      // What came before the place of the cut arrives, the rest does not.
      near.write(part, cut);
    });
    far.on("end", () => near.end());
  });
  return new Promise((resolve) => {
    const where = typeof at === "string" ? { path: at } : { port: at, host: "127.0.0.1" };
    server.listen(where, () =>
      resolve({
        port: typeof at === "string" ? 0 : (server.address() as { port: number }).port,
        path: typeof at === "string" ? at : undefined,
        get isCut() {
          return isCut;
        },
        cutAfter(bytes) {
          left = bytes;
        },
        cut,
        close: () =>
          new Promise((closed) => {
            cut();
            server.close(() => closed());
          }),
      }),
    );
  });
}
