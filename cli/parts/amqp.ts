/** RabbitMQ (PROTOCOL.md §8): calls from its queues, topics of its exchange, jobs for workers. */
import { readFileSync } from "node:fs";
import type { Member } from "../../src/contract/index.ts";
import type { AnyService } from "../../src/core/core.ts";
import { Fault } from "../../src/log/index.ts";
import type { Part } from "../../src/part.ts";
import type { TlsOptions } from "../../src/transports/amqp/driver.ts";
import { isQueued } from "../../src/transports/amqp/jobs.ts";
import { amqp as amqpPart } from "../../src/transports/amqp/server.ts";
import type { Args, Option } from "../args.ts";
import { command } from "../command.ts";
import { UsageError } from "../exit.ts";
import { shellWord } from "../screen.ts";
import type { PartContext, PartSpec } from "./index.ts";

/** Of `serve` and of `worker`. */
export const BROKER_OPTIONS: Readonly<Record<string, Option>> = {
  amqp: {
    value: "URL",
    what: "the broker: amqp://user:password@host/vhost, amqps://..., or env:NAME of a variable that has it",
  },
  "amqp-prefix": { value: "NAME", what: "what all names on the broker begin with (default backtalk)" },
  "amqp-ca": { value: "FILE", what: "trust the certificates of this PEM file for amqps://" },
  "amqp-jobs": {
    value: "METHOD",
    what: "its calls wait for workers, as those with queue: true do; may be given more than once",
    multiple: true,
  },
};

export const amqp: PartSpec = {
  group: "RabbitMQ",
  options: {
    ...BROKER_OPTIONS,
    "amqp-topics": { value: "NAMES", what: "topics joined with the broker's exchange, separated by commas, or *" },
    "amqp-prefetch": {
      value: "N",
      what: "requests of queues that are worked on at once (default: the limit exchangesPerConnection)",
      number: { min: 1, max: 65_535, whole: true },
    },
    "amqp-users": { what: "the broker's users are principals, where a message has its user_id" },
  },
  of({ args }: PartContext): Part | undefined {
    const url = brokerUrl(args);
    if (url === undefined) {
      const alone = Object.keys(amqp.options).find((name) => name !== "amqp" && args.has(name));
      if (alone !== undefined) throw new UsageError(`--${alone} needs --amqp`);
      return undefined;
    }
    const topics = args.text("amqp-topics");
    return usage(() =>
      amqpPart({
        url,
        tls: brokerTls(args),
        prefix: args.text("amqp-prefix"),
        prefetch: args.number("amqp-prefetch"),
        trustUsers: args.has("amqp-users"),
        topics: topics === "*" ? "*" : topics?.split(",").map((name) => name.trim()),
        jobs: args.texts("amqp-jobs"),
      }),
    );
  },
};

/** Where the calls of methods with `queue: true` run: what the one who starts a server may not expect. */
export function jobsText(services: readonly AnyService[], args: Args): string | undefined {
  const queued = services.flatMap(({ name, members }) =>
    Object.entries(members as Record<string, Member>).flatMap(([key, member]) => {
      return member.type === "method" && isQueued(`${name}/${key}`, member, args.texts("amqp-jobs"))
        ? `${name}.${key}`
        : [];
    }),
  );
  if (queued.length === 0) return undefined;
  const [names, verb] = [queued.join(", "), queued.length === 1 ? ["waits", "runs"] : ["wait", "run"]];
  if (!args.has("amqp")) return `${names} ${verb[1]} in this server: without --amqp there is no queue`;
  return `${names} ${verb[0]} for workers: ${command()} worker ${shellWord(args.positionals[0] ?? "FILE")} --amqp ...`;
}

/** @throws UsageError */
export function brokerUrl(args: Args): string | undefined {
  const given = args.text("amqp");
  if (!given?.startsWith("env:")) return given;
  const name = given.slice(4);
  const url = process.env[name];
  if (url === undefined || url === "") throw new UsageError(`--amqp ${given}: there is no variable ${name}`);
  return url;
}

/** @throws UsageError */
export function brokerTls(args: Args): TlsOptions | undefined {
  const file = args.text("amqp-ca");
  if (file === undefined) return undefined;
  try {
    return { ca: readFileSync(file, "utf8") };
  } catch (thrown) {
    throw new UsageError(`--amqp-ca ${file} cannot be read: ${(thrown as Error).message}`);
  }
}

/** What is wrong with an option is a mistake in the command. */
export function usage<T>(run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    if (thrown instanceof Fault && thrown.code === "invalid_argument")
      throw new UsageError(thrown.message, thrown.hint);
    throw thrown;
  }
}
