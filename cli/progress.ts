/** Progress as a bar, for whatever a method calls its progress. */
import { harmless } from "./screen.ts";
import { clip, widthOf } from "./table.ts";

/** A line of at most `width` columns. */
export function progressLine(progress: unknown, width: number): string {
  const { label, done, of } = understand(progress);
  if (done === undefined || of === undefined) return clip(label, width);
  const count = `${done}/${of}`;
  const text = label === "" ? count : `${count} ${label}`;
  const room = width - widthOf(text) - 1;
  const barWidth = Math.min(40, room);
  if (barWidth < 6) {
    // No room for both: the bar goes first, then the end of the label.
    return clip(text, width);
  }
  const filled = of > 0 ? Math.round((barWidth * Math.min(Math.max(done, 0), of)) / of) : 0;
  return `${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ${text}`;
}

interface Understood {
  readonly label: string;
  readonly done?: number;
  readonly of?: number;
}

/** Looks for the usual names; anything else is shown as it is. */
function understand(progress: unknown): Understood {
  if (typeof progress === "number") return fraction(progress, "");
  if (typeof progress !== "object" || progress === null) return { label: harmless(String(progress)) };
  const given = progress as Record<string, unknown>;
  const label = harmless(String(first(given, ["step", "message", "text", "label", "name", "phase"], "string") ?? ""));
  const done = first(given, ["done", "completed", "current", "loaded"], "number") as number | undefined;
  const of = first(given, ["of", "total", "max"], "number") as number | undefined;
  if (done !== undefined && of !== undefined) return { label, done, of };
  const percent = first(given, ["percent", "percentage"], "number") as number | undefined;
  if (percent !== undefined) return { label, done: Math.round(percent), of: 100 };
  const part = first(given, ["fraction", "ratio", "progress"], "number") as number | undefined;
  if (part !== undefined) return fraction(part, label);
  return { label: label === "" ? harmless(JSON.stringify(progress)) : label };
}

function fraction(value: number, label: string): Understood {
  return value >= 0 && value <= 1 ? { label, done: Math.round(value * 100), of: 100 } : { label: `${value} ${label}` };
}

function first(given: Record<string, unknown>, names: readonly string[], type: "string" | "number"): unknown {
  const name = names.find((each) => typeof given[each] === type);
  return name === undefined ? undefined : given[name];
}
