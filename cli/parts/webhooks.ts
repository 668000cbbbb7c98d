/** Webhooks (PROTOCOL.md §9): `--webhooks FILE` says what is sent where. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { toFault } from "../../src/log/index.ts";
import { type WebhooksConfig, webhooksConfig } from "../../src/webhooks/config.ts";
import { webhooksPart } from "../../src/webhooks/part.ts";
import { UsageError } from "../exit.ts";
import type { PartSpec } from "./index.ts";

export const webhooks: PartSpec = {
  group: "webhooks",
  options: {
    webhooks: { value: "FILE", what: "JSON that says who is told of the ends of calls and the events of topics" },
    "webhooks-allow": {
      value: "RANGE",
      what: "webhooks may go to loopback, or to a range such as 10.1.0.0/16, besides the internet",
      multiple: true,
    },
  },
  of({ args }) {
    const file = args.text("webhooks");
    const allow = args.texts("webhooks-allow");
    if (file === undefined) {
      if (allow.length > 0) throw new UsageError("--webhooks-allow needs --webhooks FILE");
      return undefined;
    }
    const config = read(file);
    try {
      return webhooksPart({ config, allow });
    } catch (thrown) {
      const { message, hint } = toFault(thrown);
      throw new UsageError(`--webhooks ${file}: ${message}`, hint);
    }
  },
};

/** @throws UsageError */
function read(file: string): WebhooksConfig {
  try {
    const json = JSON.parse(readFileSync(file, "utf8")) as unknown;
    return webhooksConfig(json, (kind, name) => {
      if (kind === "file") return readFileSync(resolve(dirname(file), name), "utf8");
      const value = process.env[name];
      if (value === undefined || value === "") throw new Error(`${name} is not set`);
      return value;
    });
  } catch (thrown) {
    throw new UsageError(
      `--webhooks ${file}: ${(thrown as Error).message.replace(/^JSON Parse error/, "not JSON")}`,
      "see PROTOCOL.md §9",
    );
  }
}
