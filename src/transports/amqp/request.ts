/** A message of a queue of calls, read: what is asked, by whom, and where the answer goes (PROTOCOL.md §8.2). */
import { createHash } from "node:crypto";
import { ANONYMOUS, type Credentials, type Host, type Principal, type Trace } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { credentialsIn } from "../../net/credentials.ts";
import { isTooDeep } from "../../wire/json.ts";
import { childTraceparent, parseTraceparent } from "../../wire/traceparent.ts";
import type { Message } from "./driver.ts";
import { DIRECT_REPLY, FRAMES, HEADER, SERVER_NAMED } from "./names.ts";

/** Whether it carries a message of `backtalk.v1` instead of an input. */
export function isFrame(message: Message): boolean {
  return message.type === FRAMES;
}

/** The body as text. @throws Fault `invalid_argument`, `resource_exhausted` */
export function textOf({ body, contentType, contentEncoding }: Message, host: Host): string {
  if (contentEncoding !== undefined && contentEncoding !== "" && !/^(utf-?8|identity)$/i.test(contentEncoding)) {
    throw new Fault("invalid_argument", "the body has a content encoding", { hint: "send it as it is, in UTF-8" });
  }
  // The driver has parsed what says that it is JSON and is.
  const isParsed = contentType === "application/json" && !(body instanceof Uint8Array);
  const text = isParsed ? JSON.stringify(body) : typeof body === "string" ? body : decode(body as Uint8Array);
  const { bodyBytes, jsonDepth } = host.limits;
  if (text.length * 3 > bodyBytes && Buffer.byteLength(text) > bodyBytes) {
    throw new Fault("resource_exhausted", `the body has more than ${bodyBytes} bytes`, {
      limit: "bodyBytes",
      retryable: false,
      hint: "send less, or raise the limit bodyBytes of the server",
    });
  }
  if (!isFrameText(text) && isTooDeep(text, jsonDepth)) {
    throw new Fault("invalid_argument", `the input nests deeper than ${jsonDepth} levels`, { limit: "jsonDepth" });
  }
  return text;
}

/** Their depth is looked at by what parses them, which can say for which exchange that was. */
function isFrameText(text: string): boolean {
  return text.startsWith('{"type":');
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Fault("invalid_argument", "the body is not UTF-8");
  }
}

/** @throws Fault `invalid_argument` */
export function jsonOf(text: string): unknown {
  if (text === "") return {};
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new Fault("invalid_argument", "the body is not JSON");
  }
}

/** `service/method` of the type, or of the routing key, with a dot or a slash. @throws Fault `not_found` */
export function methodOf({ type, routingKey = "" }: Message, host: Host): string {
  const name = (type === undefined || type === "" ? routingKey : type).replace(".", "/");
  if (host.contract.methods.has(name)) return name;
  throw new Fault("not_found", `there is no method ${name.slice(0, 128)}`, {
    hint: "name it in the type of the message, or by the routing key: service.method",
  });
}

/** Who sent it. @throws Fault `unauthenticated` */
export async function principalOf(message: Message, host: Host, trustUsers: boolean): Promise<Principal> {
  // The broker has compared it with the user of the connection (RabbitMQ: Validated User-ID).
  if (trustUsers && message.userId !== undefined && message.userId !== "") return { id: message.userId };
  if (host.anonymous) return ANONYMOUS;
  return host.authenticate(credentialsOf(message));
}

function credentialsOf({ headers = {} }: Message): Credentials {
  const field = (name: string): string | null => {
    const found = Object.keys(headers).find((each) => each.toLowerCase() === name);
    const value = found === undefined ? undefined : headers[found];
    return typeof value === "string" ? value : null;
  };
  return credentialsIn(field, "amqp", undefined);
}

/**
 * What its sender has given a message to be known by: delivered again it is the same call or event.
 * @throws Fault `invalid_argument`
 */
export function keyOf({ headers, messageId }: Message): string | undefined {
  const key = headers?.[HEADER.key];
  if (key !== undefined && typeof key !== "string") {
    throw new Fault("invalid_argument", `the header ${HEADER.key} must be text`);
  }
  return key || messageId || undefined;
}

/**
 * The key of a call, which may also be its `correlation_id`. Clients count those from 1, each for itself: so one
 * counts only together with the name of a reply queue that no other client has, now or later.
 * @throws Fault `invalid_argument`
 */
export function callKeyOf(message: Message): string | undefined {
  const { replyTo = "", correlationId = "" } = message;
  const given = keyOf(message);
  if (given !== undefined || correlationId === "" || !isUniqueName(replyTo)) return given;
  // Of any length the two may have; joined so that no other pair gives the same text.
  const pair = JSON.stringify([replyTo, correlationId]);
  return `reply/${createHash("sha256").update(pair).digest("base64url")}`;
}

/** Names that the broker gives out. A name that a client has chosen may be shared, or be used again after a restart. */
function isUniqueName(queue: string): boolean {
  return queue.startsWith(`${DIRECT_REPLY}.`) || queue.startsWith(SERVER_NAMED);
}

/** Why a message that has no key is not run when it is delivered again. */
export function mayHaveRun(): Fault {
  return new Fault("unavailable", "the message was delivered before, and may have had its effect", {
    retryable: false,
    hint: "give messages a message_id: then one that is delivered again finds its call",
  });
}

/** `expiration` is how long it may wait in the queue, and the call has no longer either. */
export function deadlineOf({ expiration }: Message, host: Host): number | undefined {
  const ms = expiration === undefined || expiration === "" ? Number.NaN : Number(expiration);
  return Number.isFinite(ms) && ms >= 0 ? host.now() + ms : undefined;
}

export function traceOf({ headers = {} }: Message, host: Host): Trace | undefined {
  const { traceparent, tracestate } = headers;
  const parent = typeof traceparent === "string" ? parseTraceparent(traceparent) : undefined;
  return (
    parent && {
      traceparent: childTraceparent(parent, host.random),
      ...(typeof tracestate === "string" && { tracestate }),
    }
  );
}
