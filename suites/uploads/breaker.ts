/** A TCP proxy that resets each connection after so many bytes of the caller, chosen by seed: a bad line. */
import { connect, createServer, type Socket } from "node:net";

export interface Breaker {
  readonly port: number;
  /** Connections that it has reset. */
  readonly breaks: number;
  /** From here on nothing breaks. */
  heal(): void;
  close(): Promise<void>;
}

/** @param next how many bytes a connection carries before it breaks */
export function breaker(target: number, next: () => number): Promise<Breaker> {
  const sockets = new Set<Socket>();
  let breaks = 0;
  let isHealed = false;
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    let left = isHealed ? Number.POSITIVE_INFINITY : next();
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    far.pipe(near);
    near.on("data", (data: Buffer) => {
      const part = data.subarray(0, Math.max(0, left));
      left -= data.length;
      if (left > 0) {
        if (!far.write(part)) {
          near.pause();
          far.once("drain", () => near.resume());
        }
        return;
      }
      breaks++;
      far.write(part, () => {
        near.resetAndDestroy();
        far.resetAndDestroy();
      });
    });
    near.on("end", () => far.end());
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () =>
      resolve({
        port: (server.address() as { port: number }).port,
        get breaks() {
          return breaks;
        },
        heal() {
          isHealed = true;
        },
        close: () =>
          new Promise((closed) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => closed());
          }),
      }),
    );
  });
}
