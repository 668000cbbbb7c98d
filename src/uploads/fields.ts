/** Header fields of both protocols: what they say, or that they cannot be read. */
import { Fault } from "../log/index.ts";
import { parseKey } from "../wire/sf.ts";

/** An integer of a structured field (RFC 9651 §3.3.1), not negative. Other values make the whole field ignored. */
export function parseInteger(header: string | null): number | undefined {
  return header !== null && /^\d{1,15}$/.test(header.trim()) ? Number(header) : undefined;
}

/** A boolean of a structured field (RFC 9651 §3.3.6). */
export function parseBoolean(header: string | null): boolean | undefined {
  const text = header?.trim();
  return text === "?1" ? true : text === "?0" ? false : undefined;
}

/** @throws Fault `invalid_argument` when it is there and no whole number */
export function parseBytes(name: string, header: string | null): number | undefined {
  if (header === null) return undefined;
  const bytes = parseInteger(header);
  if (bytes === undefined) throw badField(name, "must be a whole number of bytes");
  return bytes;
}

/** @throws Fault `invalid_argument` */
export function parseIdempotencyKey(header: string | null, most: number): string | undefined {
  if (header === null) return undefined;
  const key = parseKey(header);
  if (key === undefined) throw badField("Idempotency-Key", 'must be one string, such as "8e03978e-40d5"');
  if (key.length > most) throw badField("Idempotency-Key", `must have at most ${most} characters`);
  return key;
}

/** `Upload-Metadata` of tus: names, each with base64 of its value. @throws Fault `invalid_argument` */
export function parseMetadata(header: string | null): Map<string, string> {
  const values = new Map<string, string>();
  for (const pair of header?.split(",") ?? []) {
    if (pair.trim() === "") continue;
    const [name = "", base64 = "", ...rest] = pair.trim().split(" ");
    if (rest.length > 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) {
      throw badField("Upload-Metadata", "must be names, each with a space and base64, separated by commas");
    }
    values.set(name, Buffer.from(base64, "base64").toString("utf8"));
  }
  return values;
}

/** The file's name of a `Content-Disposition` (RFC 6266 §4.3, RFC 8187). */
export function parseFilename(header: string | null): string | undefined {
  if (header === null) return undefined;
  const extended = /;\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]+)/i.exec(header)?.[1];
  if (extended !== undefined) {
    try {
      return nameOf(decodeURIComponent(extended));
    } catch {
      // What cannot be decoded: the plain one is there for this.
    }
  }
  const match = /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(header);
  return nameOf(match?.[1]?.replace(/\\(.)/g, "$1") ?? match?.[2]);
}

/** For people: without the folders before it, and without what a terminal would act on. */
export function nameOf(text: string | undefined): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  const clean = (text ?? "").replace(/[\u0000-\u001f\u007f-\u009f]/g, "");
  const name = clean.slice(Math.max(clean.lastIndexOf("/"), clean.lastIndexOf("\\")) + 1).slice(0, 255);
  return name === "" || name === "." || name === ".." ? undefined : name;
}

export function badField(name: string, message: string): Fault {
  return new Fault("invalid_argument", `the ${name} cannot be read: it ${message}`, {
    fields: [{ path: name, message }],
  });
}
