/** A TCP proxy that resets its connections: the network, when it fails. */
import { connect, createServer, type Socket } from "node:net";

export interface Cutter {
  readonly port: number;
  /** Resets everything once so many bytes have come from the server, and accepts nothing more. */
  cutAfter(bytes: number): void;
  cut(): void;
  readonly isCut: boolean;
  close(): Promise<void>;
}

export function cutter(target: number): Promise<Cutter> {
  const sockets = new Set<Socket>();
  let left = Number.POSITIVE_INFINITY;
  let isCut = false;
  const cut = (): void => {
    isCut = true;
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  const server = createServer((near) => {
    if (isCut) return void near.resetAndDestroy();
    const far = connect(target, "127.0.0.1");
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
    server.listen(0, "127.0.0.1", () =>
      resolve({
        port: (server.address() as { port: number }).port,
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
