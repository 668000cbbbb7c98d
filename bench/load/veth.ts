/**
 * Two network namespaces that are joined directly, without the wire: what the machine itself can do. Runs in a
 * namespace of its own, prints a line of JSON, and leaves nothing: its namespaces end with it.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { offloadsOff, openLibc } from "../../lab/wire/libc.ts";
import { Program } from "../../lab/wire/program.ts";
import { lineOf } from "./line-of.ts";

const [OPTIONS, DEVICE] = process.argv.slice(2);

async function measure({ seconds, isOffloaded }: { seconds: number; isOffloaded: boolean }): Promise<void> {
  // There is a second namespace as long as its input is open, and that is as long as this process.
  const holder = spawn("unshare", ["-n", "sh", "-c", "echo ready; exec cat > /dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(holder.stdout, "data");
  const inside = ["nsenter", "-t", String(holder.pid), "-n"];
  run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1");
  run("ip", "link", "set", "veth1", "netns", String(holder.pid));
  for (const [into, device, address] of [
    [[], "veth0", "10.0.0.1/24"],
    [inside, "veth1", "10.0.0.2/24"],
  ] as const) {
    run(...into, "ip", "addr", "add", address, "dev", device);
    run(...into, "ip", "link", "set", device, "up");
    if (!isOffloaded) run(...into, process.execPath, fileURLToPath(import.meta.url), "", device);
  }
  const start = (into: readonly string[]) => (module: URL) => {
    return Program.start([...into, process.execPath, fileURLToPath(module)], {});
  };
  console.log(JSON.stringify(await lineOf(start([]), start(inside), "10.0.0.2", seconds)));
  holder.stdin.end();
}

function run(...words: string[]): void {
  const { status, stderr } = spawnSync(words[0]!, words.slice(1), { encoding: "utf8" });
  if (status !== 0) throw new Error(`${words.join(" ")}: ${stderr.trim()}`);
}

// An interface can be set from its own namespace only: there this runs once more.
if (DEVICE !== undefined) offloadsOff(openLibc(), DEVICE);
else await measure(JSON.parse(OPTIONS!));
