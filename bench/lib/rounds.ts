/** Rounds: A B C A B C ..., so that what disturbs the machine for a while disturbs all of them. */
import type { Bench } from "./bench.ts";
import { generator, type Load, measure, type Protocol, type Sample } from "./load.ts";
import type { Server } from "./servers.ts";
import { median, medianRatio } from "./stats.ts";
import type { Aim, Cell } from "./table.ts";

/** Each is measured once without being counted, then `rounds` times. Gives the samples of each. */
export async function interleaved<T>(rounds: number, variants: readonly (() => Promise<T>)[]): Promise<T[][]> {
  const samples: T[][] = variants.map(() => []);
  for (let round = -1; round < rounds; round++) {
    for (const [i, variant] of variants.entries()) {
      const sample = await variant();
      if (round >= 0) samples[i]!.push(sample);
    }
  }
  return samples;
}

export interface Loaded {
  readonly server: Server;
  readonly path: string;
  readonly body?: string;
}

export const CONNECTIONS = 64;

export async function underLoad(
  bench: Bench,
  protocol: Protocol,
  targets: readonly Loaded[],
  options: Partial<Pick<Load, "connections">> = {},
): Promise<Sample[][]> {
  bench.say(`${protocol}: ${targets.map(({ server }) => server.name).join(", ")} (${generator(protocol)})`);
  const variants = targets.map(({ server, path, body = '{"n":97}' }) => () => {
    const url = (protocol === "h1" ? server.url : server.tlsUrl) + path;
    const load = { url, body, connections: CONNECTIONS, seconds: bench.seconds, dir: bench.dir, ...options };
    return measure(protocol, load, server.pid);
  });
  return interleaved(bench.rounds, variants);
}

/** Requests a second, CPU for each, both as ratios to `base`, and the tail. */
export function loadRow(name: string, samples: readonly Sample[], base: readonly Sample[]): Cell[] {
  const p99 = samples.map((sample) => sample.p99 ?? Number.NaN);
  return [name, rate(samples), ratioOfRates(samples, base), cpu(samples), ratioOfCpu(samples, base), median(p99)];
}

export const LOAD_COLUMNS = ["", "req/s", "ratio", "CPU µs/req", "ratio by CPU", "p99 ms"];

export type Costed = Pick<Sample, "perSecond" | "cpu">;

export function ratioOfRates(samples: readonly Costed[], base: readonly Costed[]): number {
  return medianRatio(
    samples.map(({ perSecond }) => perSecond),
    base.map(({ perSecond }) => perSecond),
  );
}

/** How much of the base's work the server does with one second of CPU: above 1 is cheaper than the base. */
export function ratioOfCpu(samples: readonly Costed[], base: readonly Costed[]): number {
  return medianRatio(
    base.map(({ cpu = Number.NaN }) => cpu),
    samples.map(({ cpu = Number.NaN }) => cpu),
  );
}

/** By CPU where it is known: that holds also when the generator is what limits, which moves the other ratio to 1. */
export function ratioAim(what: string, aim: number, samples: readonly Costed[], base: readonly Costed[]): Aim {
  const byCpu = ratioOfCpu(samples, base);
  const byRate = ratioOfRates(samples, base);
  const rate = `${byRate.toFixed(2)} by rate`;
  const measured = Number.isNaN(byCpu) ? rate : `${byCpu.toFixed(2)} by CPU time, ${rate}`;
  return { what, measured, aim: `at least ${aim}`, met: (Number.isNaN(byCpu) ? byRate : byCpu) >= aim };
}

export function rate(samples: readonly Costed[]): number {
  return median(samples.map(({ perSecond }) => perSecond));
}

export function cpu(samples: readonly Costed[]): number {
  return median(samples.map(({ cpu = Number.NaN }) => cpu));
}
