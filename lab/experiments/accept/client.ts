/** Opens many connections, and says how long each took. */
import { serveProgram } from "../../wire/program.ts";

serveProgram({
  /** A new one every so many milliseconds. Milliseconds of each that came to be within the time after the last. */
  async connect(address: string, port: number, count: number, everyMs: number, withinMs: number): Promise<number[]> {
    const times: number[] = [];
    const sockets: { terminate(): void }[] = [];
    const all = Array.from({ length: count }, async (_, n) => {
      await Bun.sleep(n * everyMs);
      const began = performance.now();
      const socket = await Bun.connect({ hostname: address, port, socket: { data() {}, error() {} } });
      sockets.push(socket);
      times.push(performance.now() - began);
    });
    await Promise.race([Promise.allSettled(all), Bun.sleep(count * everyMs + withinMs)]);
    // What the kernel counts of the last ones is to be seen.
    await Bun.sleep(100);
    const within = times.toSorted((a, b) => a - b);
    for (const socket of sockets) socket.terminate();
    // The others are still trying: this program ends with them.
    return within;
  },
});
