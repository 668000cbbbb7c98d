/**
 * What stands for a network where the machine has none: programs of this machine on 127.0.0.1. There is no delay, no
 * loss and no capture, so nothing that follows from them can be judged; `refusal` says so.
 */
import { fileURLToPath } from "node:url";
import type { Network, NetworkOptions } from "./experiment.ts";
import type { Host } from "./wire/index.ts";
import { Program } from "./wire/program.ts";

export const OVER_LOOPBACK = "over loopback there is no link and no capture, which the verdict would need";
const ADDRESS = "127.0.0.1";

/** @throws Error from what only a wire can do: drops, cuts, other links, NAT */
export async function loopback({
  hosts = { client: {}, server: {} },
  drops = [],
}: NetworkOptions = {}): Promise<Network> {
  if (drops.length > 0) throw lacking("drop packets");
  const programs = new Set<Program>();
  const made = Object.entries(hosts).map(([name, spec]): readonly [string, Host] => {
    if (spec.nat) throw lacking("put a host behind a NAT box");
    return [
      name,
      {
        name,
        address: ADDRESS,
        reachedAt: ADDRESS,
        holder: process.pid,
        command: (command) => [...command],
        async start(module, { env = {} } = {}) {
          const program = await Program.start([process.execPath, fileURLToPath(module)], env);
          programs.add(program);
          program.ended.then(() => programs.delete(program));
          return program;
        },
        setLinks: () => Promise.reject(lacking("change a link")),
        cut: () => Promise.reject(lacking("cut a host off")),
        rebind: () => Promise.reject(lacking("give a host another address")),
        inject: () => Promise.reject(lacking("send a captured packet")),
      },
    ];
  });
  const stop = async () => void (await Promise.all([...programs].map((program) => program.stop())));
  return {
    pid: process.pid,
    hosts: Object.fromEntries(made),
    check: undefined,
    refusal: OVER_LOOPBACK,
    capture: async () => [],
    setDrops: async (rules) => {
      if (rules.length > 0) throw lacking("drop packets");
    },
    reset: async () => {},
    stats: () => Promise.reject(lacking("count packets")),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function lacking(what: string): Error {
  return new Error(`loopback cannot ${what}: this needs an emulated network`);
}
