/** The kernel's counters of the namespace that a program is in (proc(5), `/proc/net/netstat` and `snmp`). */
import { readFileSync } from "node:fs";

/** All counters by their names, such as `ListenOverflows` or `RetransSegs`. */
export function kernelCounters(): Readonly<Record<string, number>> {
  const counters: Record<string, number> = {};
  for (const file of ["/proc/net/netstat", "/proc/net/snmp"]) {
    const lines = readFileSync(file, "utf8").trim().split("\n");
    for (let n = 0; n + 1 < lines.length; n += 2) {
      const names = lines[n]!.split(" ").slice(1);
      const values = lines[n + 1]!.split(" ").slice(1);
      for (const [index, name] of names.entries()) counters[name] = Number(values[index]);
    }
  }
  return counters;
}

export function sysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/net/${name}`, "utf8").trim();
  } catch {
    return undefined;
  }
}
