/** Loads the service file. */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { AnyService } from "../src/core/core.ts";
import { Fault } from "../src/log/index.ts";
import { UsageError } from "./exit.ts";

/** The services that the file exports by default: one, or an array. @throws UsageError */
export async function loadServices(file: string): Promise<readonly AnyService[]> {
  const path = resolve(file);
  if (!existsSync(path)) throw new UsageError(`there is no file ${file}`);
  if (statSync(path).isDirectory())
    throw new UsageError(`${file} is a directory`, "give the file that has the service");
  const module = await load(file, path);
  const given = module["default"];
  if (given === undefined) {
    throw new UsageError(
      `${file} has no default export`,
      'end it with: export default service("name", { ... }); or an array of services',
    );
  }
  const services = Array.isArray(given) ? given : [given];
  const wrong = services.findIndex((each) => !isService(each));
  if (wrong >= 0 || services.length === 0) {
    const which = Array.isArray(given)
      ? `${wrong < 0 ? "an empty array" : `member ${wrong} of an array that`}`
      : "something that";
    throw new UsageError(
      wrong < 0 ? `${file} exports ${which}` : `${file} exports ${which} is not a service`,
      'make it with service("name", { ... }) of "backtalk"',
    );
  }
  const empty = (services as readonly AnyService[]).find(({ members }) => Object.keys(members).length === 0);
  if (empty) {
    throw new UsageError(
      `${file}: the service ${empty.name} has no members`,
      "give it one: unary(), serverStream(), clientStream(), bidi(), topic() or subscriber()",
    );
  }
  return services as readonly AnyService[];
}

async function load(file: string, path: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (thrown) {
    const message = messageOf(thrown, path).replaceAll(path, file);
    const missing = /Cannot find (?:package|module) '([^']+)'/.exec(message)?.[1];
    const isPackage = missing !== undefined && !missing.startsWith(".") && !missing.startsWith("/");
    // Not in the registry yet: there the name could be somebody else's.
    const what = missing === "backtalk" ? "the package that npm pack makes in the checkout of Backtalk" : missing;
    const hint = isPackage ? `install it beside the file: npm install ${what}` : undefined;
    throw new UsageError(`${file} cannot be loaded: ${message}`, thrown instanceof Fault ? thrown.hint : hint);
  }
}

/** What the members look like is checked by `service()`, which every service has gone through. */
function isService(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { name, members } = value as { name?: unknown; members?: unknown };
  return typeof name === "string" && typeof members === "object" && members !== null;
}

/** Errors of the compiler come in a bundle, each with its place and its line; of what was thrown it is in the stack. */
function messageOf(thrown: unknown, path: string): string {
  const errors: readonly Partial<BuildMessage>[] = thrown instanceof AggregateError ? thrown.errors : [thrown];
  return errors
    .slice(0, 5)
    .map((error) => {
      const { position, message = String(error) } = error ?? {};
      if (position)
        return `${message}\n  ${position.file}:${position.line}:${position.column}: ${position.lineText.trim()}`;
      const place = thrown instanceof Error ? placeIn(thrown.stack ?? "", path) : undefined;
      return place === undefined ? message : `${message}\n  ${place}`;
    })
    .join("\n");
}

/** Where in the file it happened, by the stack: `PATH:LINE:COLUMN`. */
function placeIn(stack: string, path: string): string | undefined {
  const at = stack.indexOf(`${path}:`);
  return at < 0 ? undefined : stack.slice(at).split(/[)\s]/, 1)[0];
}
