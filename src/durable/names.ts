/** Names of streams, and the paths that they have. */
import { bad, Refusal } from "./refusal.ts";

/** @throws Refusal 400 */
export function nameIn(url: string, prefix: string): string {
  const start = url.indexOf("/", 8);
  const queryAt = url.indexOf("?", start);
  const path = queryAt < 0 ? url.slice(start) : url.slice(start, queryAt);
  return decodedName(path.slice(prefix.length));
}

export function pathOf(name: string, prefix: string): string {
  return prefix + name.split("/").map(encodeURIComponent).join("/");
}

/** Bytes of UTF-8: what a file system or a log takes. */
const NAME_BYTES = 512;

/** @throws Refusal 400 */
export function decodedName(path: string): string {
  let name: string;
  try {
    name = decodeURIComponent(path);
  } catch {
    throw bad("the name of the stream is not UTF-8");
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  const isBad = /[\u0000-\u001f\u007f]/.test(name) || Buffer.byteLength(name) > NAME_BYTES || !name.isWellFormed();
  const parts = name.split("/");
  if (isBad || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw bad(`the name of a stream has 1 to ${NAME_BYTES} bytes, and no empty parts between its slashes`);
  }
  if (parts[0] === "__ds") throw new Refusal(501, "unimplemented", "subscriptions of Durable Streams are not offered");
  return name;
}
