/** The version of what is served: that of the package which its file belongs to. */
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** `version` of the nearest package.json above the file; without one 0.0.0, since OpenAPI and AsyncAPI require one. */
export function versionOf(file: string): string {
  for (let directory = dirname(resolve(file)); ; directory = dirname(directory)) {
    const version = versionIn(join(directory, "package.json"));
    if (version !== undefined) return version;
    if (directory === dirname(directory)) return NONE;
  }
}

const NONE = "0.0.0";

function versionIn(path: string): string | undefined {
  try {
    const { version } = JSON.parse(readFileSync(path, "utf8")) as { version?: unknown };
    // A package.json ends the search: what lies above it is another package.
    return typeof version === "string" && version !== "" ? version : NONE;
  } catch (thrown) {
    return (thrown as { code?: string }).code === "ENOENT" ? undefined : NONE;
  }
}
