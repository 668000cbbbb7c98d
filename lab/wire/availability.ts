/** Whether this machine can make networks, found out by trying; and how a process gets into one. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

export type Availability =
  | { readonly isAvailable: true; readonly enter: readonly string[] }
  | { readonly isAvailable: false; readonly why: string; readonly remedy: string };

const NEEDED = ["unshare", "nsenter", "setpriv", "ip"] as const;
/** What is needed, tried: namespaces of users, processes and the network, a link, and another namespace in it. */
const TRIAL = "ip link add trial0 type veth peer name trial1 && unshare -n true";

/** Takes some milliseconds. */
export function availability(): Availability {
  if (process.platform !== "linux") {
    return no(`network namespaces are a part of Linux, and this is ${process.platform}`, "run it in a virtual machine");
  }
  const missing = NEEDED.filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) {
    return no(`not installed: ${missing.join(", ")}`, "install iproute2 and util-linux");
  }
  let said = "";
  // Root in a container may lack the right to user namespaces and need none.
  for (const enter of [
    ["unshare", "-Urnpf", "--kill-child"],
    ...(process.getuid?.() === 0 ? [["unshare", "-npf", "--kill-child"]] : []),
  ]) {
    const { status, stderr } = spawnSync(enter[0]!, [...enter.slice(1), "sh", "-c", TRIAL], { encoding: "utf8" });
    if (status === 0) return { isAvailable: true, enter };
    said ||= stderr.trim().split("\n")[0] ?? "";
  }
  return no(`no network namespace can be made: ${said}`, remedy());
}

/** @throws Error with the reason and the remedy */
export async function entrance(): Promise<{
  readonly enter: readonly string[];
  /**
   * What puts a command into the network of this process, and into the process namespace of the wire, which
   * ends every process in it with itself; the command ends with us, too.
   */
  readonly join: (holder: number) => readonly string[];
}> {
  const found = availability();
  if (!found.isAvailable) throw new Error(`${found.why}; ${found.remedy}`);
  const user = found.enter.includes("-Urnpf") ? ["-U", "--preserve-credentials"] : [];
  return {
    enter: found.enter,
    join: (holder) => ["nsenter", "-t", String(holder), ...user, "-p", "-n", "setpriv", "--pdeathsig", "KILL"],
  };
}

function no(why: string, remedy: string): Availability {
  return { isAvailable: false, why, remedy };
}

/** By the settings that are known to forbid it. */
function remedy(): string {
  const value = (name: string): string | undefined => {
    try {
      return readFileSync(`/proc/sys/${name}`, "utf8").trim();
    } catch {
      return undefined;
    }
  };
  if (value("kernel/apparmor_restrict_unprivileged_userns") === "1") {
    return "AppArmor forbids it (Ubuntu 24.04): sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
  }
  if (value("kernel/unprivileged_userns_clone") === "0") return "sudo sysctl kernel.unprivileged_userns_clone=1";
  if (value("user/max_user_namespaces") === "0") return "sudo sysctl user.max_user_namespaces=10000";
  return "a container's seccomp profile may forbid it: docker run --security-opt seccomp=unconfined --cap-add NET_ADMIN, or run it on the machine itself";
}
