/** `--limit NAME=VALUE`. */
import { LIMITS, type Limits } from "../src/contract/index.ts";
import { suggestion } from "./args.ts";
import { UsageError } from "./exit.ts";

/** @throws UsageError */
export function limitsOf(texts: readonly string[]): Partial<Limits> {
  const limits: Record<string, number> = {};
  for (const text of texts) {
    const [name = "", value = ""] = text.split("=", 2);
    if (!Object.hasOwn(LIMITS, name)) {
      throw new UsageError(`there is no limit ${JSON.stringify(name)}`, suggestion(name, Object.keys(LIMITS)));
    }
    const number = sizeOf(value);
    if (number === undefined) {
      throw new UsageError(
        `--limit ${text}: a limit is a whole number, also with k, M or G, such as ${name}=${LIMITS[name as keyof Limits]}`,
      );
    }
    limits[name] = number;
  }
  return limits as Partial<Limits>;
}

/** A whole number; k, M and G are powers of 1024 for bytes as everywhere in `Limits`. */
function sizeOf(text: string): number | undefined {
  const match = /^(\d{1,15})([kKMG]?)$/.exec(text);
  if (!match) return undefined;
  const value = Number(match[1]) * 1024 ** ["", "K", "M", "G"].indexOf(match[2]!.toUpperCase());
  return Number.isSafeInteger(value) ? value : undefined;
}
