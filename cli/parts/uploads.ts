/** Uploads: files as the input of methods, resumable (PROTOCOL.md §7). */
import { dirname, join, resolve } from "node:path";
import { uploads } from "../../src/uploads/part.ts";
import { UsageError } from "../exit.ts";
import { DEFAULT_STORE } from "../store.ts";
import type { PartSpec } from "./index.ts";

export const uploadsSpec: PartSpec = {
  group: "streams and uploads",
  options: {
    uploads: { value: "DIR", what: "uploads are kept here (default: uploads, beside the store)" },
    "no-uploads": { what: "methods take no uploads" },
  },
  of({ args, screen }) {
    if (args.has("no-uploads")) {
      if (args.has("uploads")) throw new UsageError("--uploads and --no-uploads cannot be used together");
      return undefined;
    }
    return uploads({
      directory: args.text("uploads") ?? beside(args.text("store") ?? DEFAULT_STORE),
      onError: (error) => screen.note(`uploads: ${(error as Error).message}`),
    });
  },
};

/** Of a store in memory nothing is left, and of its uploads neither. */
function beside(store: string): string | undefined {
  return store.startsWith("sqlite:") ? join(dirname(resolve(store.slice("sqlite:".length))), "uploads") : undefined;
}
