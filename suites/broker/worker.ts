/** A worker, as a process that can be killed. */
import { fileURLToPath } from "node:url";
import { startWorker } from "../../src/server.ts";
import { type Spawned, type Surroundings, spawn } from "./spawn.ts";

export interface WorkerArgs {
  readonly url: string;
  readonly prefix: string;
  readonly concurrency: number;
}

export function workerProcess(args: WorkerArgs, at: Surroundings): Promise<Spawned> {
  return spawn(fileURLToPath(import.meta.url), args, at);
}

if (import.meta.main) {
  const args = JSON.parse(process.argv[2]!) as WorkerArgs;
  const shop = (await import("./service.ts")).default;
  const note = (level: string, message: string, fields?: unknown) =>
    console.error("worker", process.pid, level, message, JSON.stringify(fields ?? {}));
  const worker = await startWorker({ ...args, services: [shop], ...(process.env["BACKTALK_NOTES"] && { note }) });
  console.log(JSON.stringify({ methods: worker.methods }));
  process.on("SIGTERM", () => void worker.stop().then(() => process.exit(0)));
}
