/** Values as text: JSON on one line for programs; for people shortened, and over several lines where it is long. */
import { isAbsolute, relative } from "node:path";
import { harmless } from "./screen.ts";
import { widthOf } from "./table.ts";

/** One line, complete: NDJSON. */
export function jsonLine(value: unknown): string {
  return harmless(JSON.stringify(value ?? null));
}

/** For people: long texts (images, say) are cut, and told how long they are. */
export function pretty(value: unknown, width: number): string {
  const cut = (_name: string, part: unknown) => (typeof part === "string" ? shorten(part) : part);
  const line = harmless(JSON.stringify(value ?? null, cut));
  const spaced =
    line.length < 4 * width ? harmless(JSON.stringify(value ?? null, cut, 1).replace(/\n\s*/g, " ")) : line;
  if (widthOf(spaced) <= width) return spaced;
  return harmless(JSON.stringify(value ?? null, cut, 2));
}

const LONGEST = 200;

function shorten(text: string): string {
  if (text.length <= LONGEST) return text;
  return `${text.slice(0, 24)}… (${text.length.toLocaleString("en")} characters)`;
}

/** 1234567 → `1.2 MB`; powers of ten. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** 12.3 ms, 4.5 s, 3 min 20 s. */
export function durationText(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(2) : ms.toFixed(ms < 100 ? 1 : 0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** A path as people read it: from here when it is below, else whole. */
export function pathText(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" || near.startsWith("..") || isAbsolute(near) ? path : near;
}
