/** What an append is in the log, and how it is given back: messages of JSON, or bytes (§9). */
import { isTooDeep } from "../wire/json.ts";
import { bad, Refusal } from "./refusal.ts";

/** How readers see a type: JSON as arrays of messages, text as it is, anything else in base64 where only text can go. */
export type Mode = "json" | "text" | "bytes";

export function modeOf(mediaType: string): Mode {
  if (mediaType === "application/json") return "json";
  return mediaType.startsWith("text/") ? "text" : "bytes";
}

/**
 * The messages of a body as the text of one JSON array: an array is taken apart by one level (§9.1.2). The text
 * stays as it was sent, so that numbers keep their digits. `[]` when there are none.
 * @throws Refusal 400 for what is not JSON, or nests too deep
 */
export function messagesOf(body: Uint8Array, maxDepth: number): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(body).trim();
  } catch {
    throw bad("the body is not UTF-8", "send JSON (RFC 8259) in UTF-8");
  }
  // The array around the messages is not theirs.
  if (isTooDeep(text, maxDepth + (text.startsWith("[") ? 1 : 0))) {
    throw new Refusal(400, "invalid_argument", `the body nests deeper than ${maxDepth} levels`, { limit: "jsonDepth" });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw bad(`the body is not JSON: ${(error as Error).message}`, "send JSON (RFC 8259) in UTF-8");
  }
  if (!Array.isArray(value)) return `[${text}]`;
  return value.length === 0 ? "[]" : text;
}

/** The data of an append as the JSON of its event: messages, or text, or base64 of what is not UTF-8. */
export function bytesJson(body: Uint8Array): string {
  try {
    return JSON.stringify(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    return JSON.stringify({ b64: Buffer.from(body).toString("base64") });
  }
}

export function bytesIn(json: string): Buffer {
  const value = JSON.parse(json) as string | { readonly b64: string };
  return typeof value === "string" ? Buffer.from(value) : Buffer.from(value.b64, "base64");
}

/** Many arrays of messages as one. */
export function joinMessages(arrays: readonly string[]): string {
  return `[${arrays.map((array) => array.slice(1, -1)).join(",")}]`;
}

/**
 * The first messages, or bytes, of an event, as an event of its own; undefined when it has not so many (§4.2).
 */
export function prefixOf(
  json: string,
  mode: Mode,
  count: number,
): { readonly json: string; readonly isAll: boolean } | undefined {
  if (mode === "json") {
    const ends = messageEnds(json);
    if (count > ends.length) return undefined;
    return { json: `${json.slice(0, ends[count - 1])}]`, isAll: count === ends.length };
  }
  const bytes = bytesIn(json);
  if (count > bytes.length) return undefined;
  return { json: bytesJson(bytes.subarray(0, count)), isAll: count === bytes.length };
}

/** Where each element of an array ends. The text is known to be an array in JSON. */
function messageEnds(array: string): number[] {
  const ends: number[] = [];
  let depth = 0;
  let isString = false;
  for (let i = 0; i < array.length; i++) {
    const char = array[i]!;
    if (isString) {
      if (char === "\\") i++;
      else if (char === '"') isString = false;
    } else if (char === '"') isString = true;
    else if (char === "[" || char === "{") depth++;
    else if (char === "," && depth === 1) ends.push(i);
    else if ((char === "]" || char === "}") && --depth === 0) ends.push(i);
  }
  return ends;
}
