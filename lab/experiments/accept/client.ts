/** Opens many connections, and says how long each took. */
import { serveProgram } from "../../wire/program.ts";
import { socketOptions, tcpInfo } from "../../wire/sockopt.ts";

const options = socketOptions();

export interface Connected {
  /** Milliseconds until it stood. */
  readonly ms: number;
  /** SYNs that were sent again for it, as the kernel counts them. */
  readonly retries: number;
}

serveProgram({
  /** A new one every so many milliseconds. Those that came to be within the time after the last, the fastest first. */
  async connect(
    address: string,
    port: number,
    count: number,
    everyMs: number,
    withinMs: number,
    lingerMs: number,
  ): Promise<Connected[]> {
    const connected: Connected[] = [];
    const all = Array.from({ length: count }, async (_, n) => {
      await Bun.sleep(n * everyMs);
      const began = performance.now();
      const socket = await Bun.connect({ hostname: address, port, socket: { data() {}, error() {} } });
      const { fd } = socket as unknown as { fd: number };
      connected.push({ ms: performance.now() - began, retries: tcpInfo(options, fd).retransmits });
    });
    await Promise.race([Promise.allSettled(all), Bun.sleep(count * everyMs + withinMs)]);
    // What the kernel counts of the last ones is to be seen. All of them end with this program, also those that try.
    await Bun.sleep(lingerMs);
    return connected.toSorted((a, b) => a.ms - b.ms);
  },
});
