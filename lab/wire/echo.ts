/** The program of the self-check, for both sides. */
import { createSocket } from "node:dgram";
import { serveProgram } from "./program.ts";

serveProgram({
  serve(address: string): Promise<number> {
    const socket = createSocket("udp4");
    socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
    return new Promise((resolve) => socket.bind(0, address, () => resolve(socket.address().port)));
  },
  /** Round trips in milliseconds, of those that were answered within a second after the last, or what two take to send. */
  ask(address: string, port: number, count: number, everyMs: number): Promise<number[]> {
    const socket = createSocket("udp4");
    const sentAt: number[] = [];
    const times: number[] = [];
    const { promise, resolve } = Promise.withResolvers<number[]>();
    const end = () => {
      socket.close();
      resolve(times);
    };
    let patience: ReturnType<typeof setTimeout> | undefined;
    socket.on("message", (bytes) => {
      times.push(performance.now() - sentAt[bytes.readUInt32BE(0)]!);
      if (times.length === count) {
        clearTimeout(patience);
        end();
      }
    });
    // Spread, as they would else queue behind each other on a slow link.
    let next = 0;
    const timer = setInterval(() => {
      const bytes = Buffer.alloc(64);
      bytes.writeUInt32BE(next);
      sentAt[next++] = performance.now();
      socket.send(bytes, port, address);
      if (next < count) return;
      clearInterval(timer);
      patience = setTimeout(end, Math.max(1_000, 2 * everyMs));
    }, everyMs);
    return promise;
  },
});
