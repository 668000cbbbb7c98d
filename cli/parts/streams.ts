/** Durable Streams (PROTOCOL.md §10): topics, and with `--streams-create` streams that clients make. */
import { durableStreamsPart } from "../../src/durable/part.ts";
import { UsageError } from "../exit.ts";
import type { PartSpec } from "./index.ts";

export const streams: PartSpec = {
  group: "streams and uploads",
  options: {
    "streams-create": { what: "clients may make streams of their own, by the Durable Streams protocol" },
    "streams-path": { value: "PATH", what: "where Durable Streams are (default /streams)" },
  },
  of({ args, store }) {
    const path = args.text("streams-path");
    if (path !== undefined && !/^(\/[\w.~-]+)+\/?$/.test(path)) {
      throw new UsageError(`--streams-path ${path} is not a path`, "begin it with /, such as /v1/stream");
    }
    return durableStreamsPart({ store, create: args.has("streams-create"), ...(path !== undefined && { path }) });
  },
};
