/** Names on the broker (PROTOCOL.md §8.1), and texts that are safe to show. */
import { Fault } from "../../log/index.ts";
import type { Arguments } from "./driver.ts";

export const PREFIX = "backtalk";
/** The type of a message whose body is a message of `backtalk.v1` (PROTOCOL.md §3). */
export const FRAMES = "backtalk.v1";
export const FRAMES_TYPE = "application/vnd.backtalk.v1+json";
/** What begins the name of a direct reply: such a queue is none that `mandatory` knows. */
export const DIRECT_REPLY = "amq.rabbitmq.reply-to";
/** What begins the name of a queue that the broker has named: clients cannot choose names under `amq.`. */
export const SERVER_NAMED = "amq.gen-";

/** Header fields. */
export const HEADER = {
  /** Of which server the message comes: what it has sent itself it does not take in. */
  origin: "backtalk-origin",
  call: "backtalk-call",
  cursor: "backtalk-cursor",
  key: "idempotency-key",
  /** Numbers what must not be lost silently, to know it again when it is returned. */
  number: "backtalk-n",
} as const;

export interface Names {
  readonly calls: string;
  readonly topics: string;
  readonly dead: string;
  readonly servers: string;
  callsOf(service: string): string;
  jobsOf(method: string): string;
  topicsOf(server: string): string;
  serverOf(server: string): string;
  /** Whether a queue is one of these. */
  isOwn(queue: string): boolean;
}

const OWN = /^(dead|servers)$|^(calls|jobs|topics|server)\./;

/** @throws Fault `invalid_argument` */
export function namesOf(prefix: string): Names {
  if (!/^[A-Za-z][\w.-]{0,63}$/.test(prefix) || prefix.startsWith("amq.")) {
    throw new Fault("invalid_argument", `not a prefix for names on the broker: ${JSON.stringify(prefix)}`, {
      hint: "use a letter, then at most 63 letters, digits, _, - or .",
    });
  }
  return {
    calls: `${prefix}.calls`,
    topics: `${prefix}.topics`,
    dead: `${prefix}.dead`,
    servers: `${prefix}.servers`,
    callsOf: (service) => `${prefix}.calls.${service}`,
    jobsOf: (method) => `${prefix}.jobs.${method.replace("/", ".")}`,
    topicsOf: (server) => `${prefix}.topics.${server}`,
    serverOf: (server) => `${prefix}.server.${server}`,
    isOwn: (queue) => queue.startsWith(`${prefix}.`) && OWN.test(queue.slice(prefix.length + 1)),
  };
}

/** A queue on the majority of the cluster's disks, whose refused messages go to the dead-letter exchange. */
export function quorum(dead: string | undefined, deliveries: number, more: Arguments = {}): Arguments {
  return {
    "x-queue-type": "quorum",
    "x-delivery-limit": deliveries,
    ...(dead !== undefined && { "x-dead-letter-exchange": dead }),
    ...more,
  };
}

/** The address without the user and the password. @throws Fault `invalid_argument` */
export function parseUrl(text: string): {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  readonly shown: string;
} {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== "amqp:" && url.protocol !== "amqps:") || url.hostname === "") {
    // Not the text: it may hold a password.
    throw new Fault("invalid_argument", "the address of the broker cannot be read", {
      hint: "such as amqp://user:password@localhost:5672/vhost, or amqps:// for TLS",
    });
  }
  const isTls = url.protocol === "amqps:";
  const port = url.port === "" ? (isTls ? 5671 : 5672) : Number(url.port);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port, isTls, shown: `${url.protocol}//${url.hostname}:${port}${url.pathname}` };
}
