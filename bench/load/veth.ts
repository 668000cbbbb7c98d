/**
 * Two network namespaces that are joined directly, without the wire: what the machine itself can do. Runs in a
 * namespace of its own, prints a line of JSON, and leaves nothing: its namespaces end with it.
 */
import { spawn, spawnSync } from "node:child_process";
import { offloadsOff, openLibc } from "../../lab/wire/libc.ts";
import { Program } from "../../lab/wire/program.ts";
import { lineOf } from "./line-of.ts";

const { seconds, isOffloaded } = JSON.parse(process.argv[2]!) as { seconds: number; isOffloaded: boolean };
const MODULE = process.argv[3];

const run = (command: string, ...args: string[]) => {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr.trim()}`);
};

if (MODULE === "offloads-off") offloadsOff(openLibc(), process.argv[4]!);
else await measure();

async function measure(): Promise<void> {
  // As long as its input is open there is a second namespace; that is as long as this process.
  const holder = spawn("unshare", ["-n", "sh", "-c", "echo ready; exec cat > /dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  // The number of a process is another one for the rest of the machine, which /proc shows: let the kernel say it.
  const inside = ["nsenter", "-t", String(outerPid(holder.pid!)), "-n"];
  run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1");
  run("ip", "link", "set", "veth1", "netns", String(holder.pid));
  run("ip", "addr", "add", "10.0.0.1/24", "dev", "veth0");
  run("ip", "link", "set", "veth0", "up");
  run(inside[0]!, ...inside.slice(1), "ip", "addr", "add", "10.0.0.2/24", "dev", "veth1");
  run(inside[0]!, ...inside.slice(1), "ip", "link", "set", "veth1", "up");
  if (!isOffloaded) {
    const self = new URL(import.meta.url).pathname;
    offloadsOff(openLibc(), "veth0");
    run(inside[0]!, ...inside.slice(1), process.execPath, self, "{}", "offloads-off", "veth1");
  }
  const line = await lineOf(
    (module) => Program.start([process.execPath, module.pathname], {}),
    (module) => Program.start([...inside, process.execPath, module.pathname], {}),
    "10.0.0.2",
    seconds,
  );
  console.log(JSON.stringify(line));
  holder.stdin.end();
}

function outerPid(pid: number): number {
  // /proc is that of the machine: the namespace that no other process of ours has tells which one it is.
  return pid;
}
