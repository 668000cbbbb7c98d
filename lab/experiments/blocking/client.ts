/** Asks on a schedule, whether the answers come or not; and once asks for work. */
import { serveProgram } from "../../wire/program.ts";

export interface Latencies {
  /** Milliseconds from when each request was due: what a user waits. */
  readonly fromSchedule: readonly number[];
  /** Milliseconds from when it was sent by a client that waits for each answer before it asks again. */
  readonly fromSend: readonly number[];
  readonly workMs: number;
}

serveProgram({
  async ask(url: string, way: string, workMs: number, everyMs: number, forMs: number): Promise<Latencies> {
    const hello = async () => {
      const response = await fetch(`${url}/crowd/hello`);
      if (!response.ok) throw new Error(`the server answers ${response.status}`);
      await response.text();
    };
    // Connections are open, and nothing is done for the first time.
    await Promise.all(Array.from({ length: 8 }, hello));
    const began = performance.now();
    const work = (async () => {
      await Bun.sleep(forMs / 4);
      const from = performance.now();
      const body = JSON.stringify({ way, ms: workMs });
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${url}/crowd/work`, { method: "POST", headers, body });
      if (!response.ok) throw new Error(await response.text());
      await response.text();
      return performance.now() - from;
    })();
    const one = closedLoop(hello, everyMs, began + forMs);
    const scheduled: Promise<number>[] = [];
    for (let n = 0; n * everyMs < forMs; n++) {
      const due = began + n * everyMs;
      // Timers end up to a millisecond early.
      for (let wait = due - performance.now(); wait > 0; wait = due - performance.now()) await Bun.sleep(wait);
      scheduled.push(hello().then(() => performance.now() - due));
    }
    return { fromSchedule: await Promise.all(scheduled), fromSend: await one, workMs: await work };
  },
});

async function closedLoop(hello: () => Promise<void>, everyMs: number, until: number): Promise<number[]> {
  const times: number[] = [];
  while (performance.now() < until) {
    const from = performance.now();
    await hello();
    const took = performance.now() - from;
    times.push(took);
    await Bun.sleep(Math.max(0, everyMs - took));
  }
  return times;
}
