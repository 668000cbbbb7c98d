/** The network of an experiment: made, measured, and refused when it is not what was asked for. */
import { type Conditions, clientLink } from "./conditions.ts";
import type { Network, NetworkOptions } from "./experiment.ts";
import { wire } from "./wire/index.ts";
import { checkLink, type LinkCheck } from "./wire/selfcheck.ts";

export async function makeNetwork(conditions: Conditions, options: NetworkOptions = {}): Promise<Network> {
  const { echoes = 50, seed = conditions.seed, drops = conditions.drops, ...rest } = options;
  const { congestion } = conditions;
  const hosts = options.hosts ?? { client: { ...clientLink(conditions), congestion }, server: { congestion } };
  const net = await wire({ ...rest, hosts, seed });
  try {
    const [first, second] = Object.values(net.hosts);
    let check: LinkCheck | undefined;
    if (echoes > 0 && first && second) {
      // On a slow link they wait for each other unless they are further apart; then fewer have to do.
      const everyMs = Math.max(4, (1.25 * ECHO_BITS * 1e3) / (conditions.rateBps ?? Number.POSITIVE_INFINITY));
      const count = Math.min(echoes, Math.max(3, Math.round(2_000 / everyMs)));
      check = await checkLink(first, second, count, everyMs);
      // The echoes are no part of what is told, and take none of the luck of the seed.
      await net.capture();
      await net.reset();
    }
    await net.setDrops(drops);
    return Object.assign(net, { check, refusal: check && refusalOf(check, conditions) });
  } catch (thrown) {
    await net.stop();
    throw thrown;
  }
}

/** 64 bytes and the headers of UDP and IP: the rate is of these. */
const ECHO_BITS = 92 * 8;

/** In the reason of whatever is refused because of the machine. */
export const TOO_BUSY = "this machine is too busy";

/** A link that errs by more than a tenth of its round trip says nothing about round trips; 2 ms are the processes that ask. */
function refusalOf(check: LinkCheck, { rttMs, jitterMs, rateBps }: Conditions): string | undefined {
  if (check.answered === 0) return "no echo came back";
  // At the rate, both ways.
  const own = rateBps === undefined ? 0 : (2 * ECHO_BITS * 1e3) / rateBps;
  const error = Math.abs(check.rttMs - rttMs - own - jitterMs);
  const allowed = Math.max((rttMs + own) / 10, 2) + jitterMs;
  if (error <= allowed) return undefined;
  return `the link has ${check.rttMs.toFixed(1)} ms instead of ${rttMs} ms: ${TOO_BUSY} for a verdict`;
}
