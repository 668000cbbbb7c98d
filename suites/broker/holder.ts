/** Has a broker and a server, and ends as it is told to by its argument; prints a line when both are up. */
import { join } from "node:path";
import { startBroker } from "./broker.ts";
import { serverProcess } from "./server.ts";

const [how] = process.argv.slice(2);
const broker = await startBroker();
const args = { url: broker.url, prefix: "held", store: join(broker.folder, "store.sqlite"), port: 0 };
await serverProcess(args, { broker, effects: join(broker.folder, "effects") });
console.log("up");
if (how === "throws") throw new Error("as it was told to");
if (how === "exits") process.exit(3);
if (how === "stops") {
  await broker.stop();
  process.exit(0);
}
