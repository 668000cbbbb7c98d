/** From values to pixels, and the round numbers that an axis shows. */

export interface Scale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

/**
 * Ticks are 1, 2 or 5 times a power of ten, about `count` of them, and enclose all values.
 * Values that are all the same get room around them.
 */
export function scale(values: readonly number[], pixels: readonly [number, number], count: number): Scale {
  const finite = values.filter(Number.isFinite);
  let low = finite.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  let high = finite.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (low > high) [low, high] = [0, 1];
  if (low === high) [low, high] = [Math.min(low, 0), high === 0 ? 1 : Math.max(high, 0)];
  const step = roundStep((high - low) / Math.max(1, count));
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => clean((first + index) * step));
  const [from, to] = [ticks[0]!, ticks.at(-1)!];
  return { ticks, at: (value) => pixels[0] + ((value - from) / (to - from)) * (pixels[1] - pixels[0]) };
}

/** Ticks are powers of ten, with 2 and 5 times them where these are few, and enclose all values above zero. */
export function logScale(values: readonly number[], pixels: readonly [number, number]): Scale {
  const logs = values.filter((value) => value > 0 && Number.isFinite(value)).map(Math.log10);
  const [low, high] = logs.length === 0 ? [0, 1] : [Math.min(...logs), Math.max(...logs)];
  const steps = high - low > 4 ? [1] : [1, 2, 5];
  const all: number[] = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const step of steps) all.push(clean(step * 10 ** power));
  }
  const first = Math.max(
    0,
    all.findLastIndex((tick) => Math.log10(tick) <= low + 1e-9),
  );
  const end = all.findIndex((tick, index) => index > first && Math.log10(tick) >= high - 1e-9);
  const ticks = all.slice(first, end < 0 ? undefined : end + 1);
  const [from, to] = [Math.log10(ticks[0]!), Math.log10(ticks.at(-1)!)];
  return { ticks, at: (value) => pixels[0] + ((Math.log10(value) - from) / (to - from)) * (pixels[1] - pixels[0]) };
}

function roundStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const digits = raw / power;
  return power * (digits <= 1 ? 1 : digits <= 2 ? 2 : digits <= 5 ? 5 : 10);
}

/** 0.30000000000000004 is 0.3. */
function clean(value: number): number {
  return Number(value.toPrecision(12));
}

/** For an axis: `1,500`, `2.5M`. */
export function tickText(value: number): string {
  const size = Math.abs(value);
  for (const [unit, name] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ] as const) {
    if (size >= unit) return `${clean(value / (name === "k" ? 1e3 : unit))}${name}`;
  }
  return value.toLocaleString("en", { maximumFractionDigits: 6 });
}
