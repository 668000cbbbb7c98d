/** The first steps: addresses for the name, and which of them takes a TCP connection. */
import { lookup } from "node:dns/promises";
import { absent, type Finding, found, type Phases } from "./finding.ts";
import { dial } from "./line.ts";
import { reasonOf, reasonText } from "./reason.ts";
import { ms, type Setting } from "./setting.ts";
import { isAddress } from "./target.ts";

/** Names with more are asked at the first of them. */
const MOST_ADDRESSES = 4;

export interface Resolved {
  readonly finding: Finding;
  readonly addresses: readonly string[];
}

/** As programs of this machine look names up, with its hosts file. */
export async function resolve(setting: Setting): Promise<Resolved> {
  const { host } = setting.target;
  if (isAddress(host)) {
    return {
      finding: found("dns", "an address: nothing to look up", { facts: { addresses: [host] } }),
      addresses: [host],
    };
  }
  const begunAt = performance.now();
  try {
    const all = await setting.within(lookup(host, { all: true }), setting.deadline());
    setting.namelookupMs = performance.now() - begunAt;
    const addresses = [...new Set(all.map(({ address }) => address))];
    const [v6, v4] = [addresses.filter((each) => each.includes(":")), addresses.filter((each) => !each.includes(":"))];
    const text = `A ${v4.join(", ") || "none"}; AAAA ${v6.join(", ") || "none"}`;
    const phases: Phases = { namelookup: ms(setting.namelookupMs) };
    return { finding: found("dns", text, { facts: { a: v4, aaaa: v6 }, phases }), addresses };
  } catch (thrown) {
    const reason = reasonOf(thrown);
    const code = reason.code === "timeout" ? "timeout" : "dns_failed";
    return { finding: absent("dns", { code }, `no address for ${host}`), addresses: [] };
  }
}

/** All at once; the first in the order of the system that takes a connection is the one for everything else. */
export async function connectTcp(setting: Setting, addresses: readonly string[]): Promise<Finding> {
  const { port } = setting.target;
  const deadline = setting.deadline();
  const tries = await Promise.all(
    addresses.slice(0, MOST_ADDRESSES).map(async (host) => {
      const begunAt = performance.now();
      try {
        const socket = await dial(setting, { host, port }, deadline);
        const connectMs = performance.now() - begunAt;
        socket.destroy();
        return { host, connectMs };
      } catch (thrown) {
        return { host, reason: reasonOf(thrown) };
      }
    }),
  );
  const each = tries.map(({ host, reason }) => `${host} ${reason ? reasonText(reason) : "yes"}`).join(", ");
  const facts = { tries };
  const first = tries.find(({ connectMs }) => connectMs !== undefined);
  if (!first) return absent("tcp", tries[0]!.reason!, tries.length > 1 ? each : "", { facts });
  setting.address = { host: first.host, port };
  const { namelookupMs } = setting;
  const phases: Phases = {
    namelookup: ms(namelookupMs),
    connect: ms(namelookupMs + first.connectMs!),
    roundTrips: 1,
  };
  return found("tcp", `port ${port}: ${each}`, { facts, phases });
}
