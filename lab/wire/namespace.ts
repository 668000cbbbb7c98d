/**
 * The namespaces of the hosts: each with a link to the wire, addresses and routes. Made by the process that is the
 * wire, in namespaces of its own; they are gone with it.
 */
import { spawn, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Libc, offloadsOff } from "./libc.ts";
import type { Attached } from "./spec.ts";

export const WIRE_MAC = "02:00:00:00:00:fe";
export const macOf = (index: number) => `02:00:00:00:00:${(index + 1).toString(16).padStart(2, "0")}`;
/** No host has it: it is the next hop of all. */
const GATEWAY = "169.254.0.1";

/** A namespace, its link and its addresses. Returns the process that holds it open. */
export function makeHost(libc: Libc, { address, spec }: Attached, index: number): number {
  const { pid, outerPid } = holdNamespace();
  const [outer, inner] = [`wire${index}`, `host${index}`];
  const mtu = String(spec.mtu ?? 1500);
  ip(
    "link",
    "add",
    outer,
    "address",
    WIRE_MAC,
    "mtu",
    "65535",
    "type",
    "veth",
    "peer",
    "name",
    inner,
    "address",
    macOf(index),
    "mtu",
    mtu,
  );
  for (const name of [outer, inner]) offloadsOff(libc, name);
  writeSysctl(`ipv6/conf/${outer}/disable_ipv6`, "1");
  ip("link", "set", inner, "netns", String(pid), "name", "eth0");
  ip("link", "set", outer, "up");
  const inside = (...args: string[]) => run("nsenter", ["-t", String(outerPid), "-n", "ip", ...args]);
  inside("link", "set", "lo", "up");
  // RFC 8200 §5: an interface with less than 1,280 bytes has no IPv6.
  sysctls(outerPid, { ...((spec.mtu ?? 1500) >= 1280 && { "ipv6/conf/eth0/disable_ipv6": "1" }), ...spec.sysctls });
  inside("addr", "add", `${address}/32`, "dev", "eth0");
  inside("link", "set", "eth0", "up");
  inside("route", "add", GATEWAY, "dev", "eth0", "scope", "link");
  // By the route: a namespace may not make it the default of its sockets when the machine does not allow it.
  const congestion = spec.congestion === undefined ? [] : ["congctl", spec.congestion];
  inside("route", "add", "default", "via", GATEWAY, "dev", "eth0", "src", address, ...congestion);
  inside("neigh", "add", GATEWAY, "lladdr", WIRE_MAC, "dev", "eth0", "nud", "permanent");
  return outerPid;
}

/**
 * Starts what holds a namespace open. It lives as long as its input is open: that is, as long as this process.
 * It says itself which process it is for the rest of the machine: here it has another number.
 */
function holdNamespace(): { readonly pid: number; readonly outerPid: number } {
  const directory = mkdtempSync(join(tmpdir(), "backtalk-wire-"));
  const file = join(directory, "pid");
  const fd = openSync(file, "w");
  const script = "read pid rest < /proc/self/stat; echo $pid; exec cat > /dev/null";
  const holder = spawn("unshare", ["-n", "sh", "-c", script], { stdio: ["pipe", fd, "inherit"] });
  try {
    for (let tries = 0; tries < 5_000; tries++) {
      const text = readFileSync(file, "utf8");
      if (text.endsWith("\n")) return { pid: holder.pid!, outerPid: Number(text) };
      Bun.sleepSync(1);
    }
  } finally {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
  throw new Error("no network namespace was made in five seconds");
}

/** What the rest of the machine calls this process. */
export function outerPid(): number {
  return Number.parseInt(readFileSync("/proc/self/stat", "utf8"), 10);
}

function sysctls(pid: number, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!/^[\w/.-]+$/.test(name) || name.includes("..")) throw new Error(`not a setting of the network: ${name}`);
    run("nsenter", ["-t", String(pid), "-n", "sh", "-c", 'printf %s "$1" > "/proc/sys/net/$2"', "sh", value, name]);
  }
}

function writeSysctl(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${name}`, value);
  } catch {
    // A kernel without IPv6 has nothing to turn off.
  }
}

function ip(...args: string[]): void {
  run("ip", args);
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status === 0) return;
  throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
}
