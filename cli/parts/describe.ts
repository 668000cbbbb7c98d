/** The descriptions of the contract, and the page at /docs (PROTOCOL.md §11). */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Broker } from "../../src/describe/asyncapi.ts";
import { descriptions } from "../../src/describe/mount.ts";
import { PAGE_FILES, type Page } from "../../src/describe/page.ts";
import { describeProto } from "../../src/describe/proto/index.ts";
import type { Args } from "../args.ts";
import { command } from "../command.ts";
import { readPins, serviceNames } from "../pins.ts";
import { shellWord } from "../screen.ts";
import { versionOf } from "../version.ts";
import type { PartSpec } from "./index.ts";

export const describe: PartSpec = {
  group: "HTTP",
  options: { "no-docs": { what: "no page at /docs" } },
  of({ args, file, screen }) {
    return {
      mounts({ contract, anonymous }) {
        const names = serviceNames(contract);
        const pins = readPins(file, names);
        // Refused here, before anything listens: a server whose callers know other numbers does harm.
        const behind = pins.size === 0 ? 0 : describeProto(contract, pins).unpinned.length;
        if (behind > 0)
          screen.explain([
            `${behind} new in the contract and not pinned: ${command()} contract ${shellWord(file)} --write`,
          ]);
        const page = hasPage(args) ? pageFiles() : undefined;
        const options = {
          title: [...names].join(", "),
          version: versionOf(file),
          isAnonymous: anonymous,
          pins,
          broker: args.has("amqp") ? brokerOf(args) : undefined,
        };
        return [descriptions(contract, { ...options, ...(page && { page }) })];
      },
    };
  },
};

/** Whether there is a page at `/docs`. */
export function hasPage(args: Args): boolean {
  return !args.has("no-docs") && pageFiles() !== undefined;
}

function brokerOf(args: Args): Broker {
  const topics = args.text("amqp-topics");
  const names = new Set(topics?.split(",").map((name) => name.trim()));
  return { prefix: args.text("amqp-prefix"), joins: (topic) => topics === "*" || names.has(topic) };
}

/** In the package they were copied when it was built; in a checkout they are where npm has put them. */
function pageFiles(): Page | undefined {
  const root = join(import.meta.dir, "../..");
  const directory = [join(root, "dist/docs"), installed()].find((each) => {
    return each !== undefined && PAGE_FILES.every((name) => existsSync(join(each, name)));
  });
  return directory === undefined
    ? undefined
    : new Map(PAGE_FILES.map((name) => [name, Bun.file(join(directory, name))]));
}

function installed(): string | undefined {
  try {
    return dirname(Bun.resolveSync("swagger-ui-dist/package.json", import.meta.dir));
  } catch {
    return undefined;
  }
}
