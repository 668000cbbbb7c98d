/** Names of the contract as Protocol Buffers write them (the style guide of protobuf.dev, as buf checks it). */

/** `pauseMs` is `pause_ms`, `URLParts` is `url_parts`. */
export function snake(name: string): string {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1_$2")
    .replace(/[^A-Za-z0-9]+/g, "_")
    .replace(/^_+|_+$/g, "")
    .toLowerCase();
  if (words === "") return "field";
  return /^[0-9]/.test(words) ? `f_${words}` : words;
}

/** `isPrime` is `IsPrime`, `to_do` is `ToDo`. */
export function pascal(name: string): string {
  const joined = name
    .replace(/[^A-Za-z0-9]+/g, "_")
    .split("_")
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join("");
  if (joined === "") return "Field";
  return /^[0-9]/.test(joined) ? `F${joined}` : joined;
}

/** The name that a field has in JSON when its file says nothing of it (descriptor.proto, `json_name`). */
export function defaultJsonName(field: string): string {
  return field.replace(/_+([^_]|$)/g, (_, letter: string) => letter.toUpperCase());
}

/** Tells names apart that generated code could not: by letters and digits alone. */
export function folded(name: string): string {
  return name.replaceAll("_", "").toLowerCase();
}

/** The name, or the name with the first number after it that is free; takes it. */
export function unique(name: string, taken: Set<string>, between = ""): string {
  let free = name;
  for (let n = 2; taken.has(folded(free)); n++) free = `${name}${between}${n}`;
  taken.add(folded(free));
  return free;
}
