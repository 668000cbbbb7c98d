/**
 * Requests that carry a message of `backtalk.v1` (PROTOCOL.md §8.3). Each is an exchange of its own, which any
 * server with the same store can answer: there is no connection between a caller and a server, so a reading
 * has its credit from the beginning, and ends when it is used.
 */
import { CALLS, type Call, type Exchange, type Host, type Principal, TOPICS } from "../../contract/index.ts";
import { type Cursor, Fault, PAGE_EVENTS, type Place, parsePlace, toFault } from "../../log/index.ts";
import {
  type CallMessage,
  type ClientMessage,
  encodeEvents,
  encodeEventsTail,
  encodeMessage,
  type ItemsMessage,
  type PlainServerMessage,
  type StateMessage,
} from "../../wire/frame.ts";
import { parseClientMessage } from "../../wire/frame-parse.ts";
import type { Answering, Outcome } from "./calls.ts";
import type { Message } from "./driver.ts";
import { FRAMES, FRAMES_TYPE } from "./names.ts";
import type { Reply } from "./reply.ts";
import { deadlineOf, mayHaveRun, principalOf, textOf, traceOf } from "./request.ts";

/** Most bytes of events that one reading sends before it ends and waits to be asked for more. */
const READING_BYTES = 2 * 1024 * 1024;

interface Asking {
  readonly host: Host;
  readonly reply: Reply;
  readonly message: Message;
  readonly principal: Principal;
}

export async function answerFrame({ host, reply, trustUsers }: Answering, message: Message): Promise<Outcome> {
  // An answer that nobody hears, about something that has no effect: an effect without a listener is for plain requests.
  if (reply.isDeaf) return "bad";
  let id: number | undefined;
  try {
    const text = textOf(message, host);
    const parsed = parseClientMessage(text, host.limits);
    id = "id" in parsed ? parsed.id : undefined;
    if (parsed.type === "bad") {
      const { path, limit } = parsed;
      throw new Fault("invalid_argument", `${path === "" ? "the message" : `"${path}"`} ${parsed.message}`, {
        hint: "see PROTOCOL.md §8.3",
        ...(path !== "" && { fields: [{ path, message: parsed.message }] }),
        ...(limit !== undefined && { limit }),
      });
    }
    const principal = await principalOf(message, host, trustUsers);
    await answer({ host, reply, message, principal }, parsed);
    return "answered";
  } catch (thrown) {
    const fault = toFault(thrown);
    await send(reply, { type: "fault", ...(id !== undefined && { id }), fault: fault.toJSON() });
    // One that could not even be read is kept for whoever looks for the mistake.
    return id === undefined ? "bad" : "answered";
  }
}

async function answer(asking: Asking, frame: ClientMessage): Promise<void> {
  const { host, reply, message } = asking;
  switch (frame.type) {
    case "call":
      return call(asking, frame);
    case "attach": {
      const exchange = await use(asking, CALLS + frame.call);
      return frame.credit === undefined ? result(asking, frame.id, exchange) : read(asking, frame, exchange, "start");
    }
    case "subscribe":
      return read(asking, frame, await use(asking, TOPICS + frame.topic), "now");
    case "publish": {
      // Delivered again it is the same event.
      const key = frame.key ?? (message.messageId || undefined);
      const exchange = await use(asking, TOPICS + frame.topic);
      const { cursor, duplicate } = await exchange.append({ items: [frame.event], ...(key !== undefined && { key }) });
      return send(reply, {
        type: "result",
        id: frame.id,
        data: { cursor, duplicate: duplicate && !message.redelivered },
      });
    }
    case "state":
      return state(asking, frame);
    case "items":
      return items(asking, frame);
    case "cancel": {
      const exchange = await use(asking, CALLS + named(frame.call, frame.type));
      await exchange.cancel();
      return send(reply, { type: "result", id: frame.id, data: await exchange.state() });
    }
    default:
      throw new Fault("unimplemented", `\`${frame.type}\` means nothing in a queue`, {
        hint: `each message stands for itself here; ${host.contract.topics.size > 0 ? "see PROTOCOL.md §8.3" : "send `call`"}`,
      });
  }
}

async function call(asking: Asking, frame: CallMessage): Promise<void> {
  const { host, reply, message, principal } = asking;
  const { id, method, input, key, keep, credit, timeoutMs } = frame;
  if (method.startsWith(CALLS) || method.startsWith(TOPICS)) {
    throw new Fault("not_found", `there is no method ${method.slice(0, 128)}`, { hint: "use `attach` or `subscribe`" });
  }
  const isSafe = host.contract.methods.get(method)?.options.safe === true;
  // Of a message that is delivered again it is known by it that it is no new call.
  const given = key ?? (isSafe ? undefined : message.messageId || undefined);
  if (message.redelivered && given === undefined && !isSafe) throw mayHaveRun();
  const until = deadlineOf(message, host);
  const call: Call = {
    to: method,
    input: input === undefined ? {} : input,
    principal,
    key: given,
    keep: keep === true || credit !== undefined,
    deadline: timeoutMs === undefined ? until : host.now() + timeoutMs,
    trace: traceOf(frame.traceparent === undefined ? message : { ...message, headers: { ...frame } }, host),
    via: "amqp",
    signal: reply.signal,
  };
  const exchange = await host.peer(call);
  if (exchange.id !== undefined) {
    const replayed = exchange.replayed && key !== undefined ? { replayed: true } : {};
    await send(reply, { type: "opened", id, call: exchange.id, ...replayed });
    // A caller that keeps it comes back for the rest.
    if (keep && credit === undefined) return;
  }
  if (credit !== undefined) return read(asking, { ...frame, credit }, exchange, "start");
  const isKept = key !== undefined || keep === true;
  const leave = (): void => void exchange.cancel().catch(() => {});
  if (!isKept) reply.signal.addEventListener("abort", leave, { once: true });
  try {
    await result(asking, id, exchange, true);
  } finally {
    reply.signal.removeEventListener("abort", leave);
  }
}

async function result({ reply }: Asking, id: number, exchange: Exchange, isNew = false): Promise<void> {
  const data = await (isNew ? exchange.result() : exchange.result(reply.signal));
  await send(reply, { type: "result", id, data });
}

async function read(
  { host, reply }: Asking,
  frame: { readonly id: number; readonly after?: string; readonly credit?: number; readonly follow?: boolean },
  exchange: Exchange,
  otherwise: Place,
): Promise<void> {
  const { id, after, follow = true } = frame;
  const from = after === undefined ? otherwise : parsePlace(after);
  let left = Math.min(frame.credit ?? 0, MOST_CREDIT);
  if (left === 0) throw new Fault("invalid_argument", "`credit` must be above 0 in a queue");
  const turn = new AbortController();
  const timer = setTimeout(() => turn.abort(), host.limits.waitMs);
  const end = (): void => turn.abort();
  for (const signal of [reply.signal, host.draining]) signal.addEventListener("abort", end, { once: true });
  if (reply.signal.aborted || host.draining.aborted) end();
  let cursor: Cursor | undefined;
  let bytes = 0;
  try {
    const pageEvents = Math.min(PAGE_EVENTS, follow ? Math.ceil(left / 2) : left);
    const pageBytes = Math.ceil(host.limits.sendBufferBytes / 2);
    for await (const page of exchange.read({ from, follow, signal: turn.signal, pageEvents, pageBytes })) {
      const { verdict } = page;
      const events = page.events.slice(0, left);
      const isWhole = events.length === page.events.length;
      const isFirst = cursor === undefined;
      cursor = isWhole ? page.cursor : events.at(-1)!.cursor;
      if (events.length > 0 || isFirst || (verdict && verdict.verdict !== "recovered")) {
        const isTold = verdict !== undefined && (isFirst || verdict.verdict !== "recovered");
        if (isTold) host.metrics.add("backtalk_resumes_total", `verdict="${verdict.verdict}"`, 1);
        await say(reply, encodeEvents(id, encodeEventsTail(events, cursor), isTold ? verdict : undefined));
      }
      left -= events.length;
      for (const { json } of events) bytes += json.length;
      const ended = isWhole && page.ended;
      if (ended || !follow || left === 0 || bytes >= READING_BYTES) {
        const more = !ended && (page.more || !isWhole);
        return await send(reply, { type: "done", id, cursor, ...(ended && { ended }), ...(more && { more }) });
      }
    }
    if (host.draining.aborted && !reply.signal.aborted) throw goes(host);
    await send(reply, { type: "done", id, ...(cursor !== undefined && { cursor }) });
  } finally {
    clearTimeout(timer);
    for (const signal of [reply.signal, host.draining]) signal.removeEventListener("abort", end);
  }
}

const MOST_CREDIT = 10_000;

async function state(asking: Asking, { id, call, topic, after, waitMs }: StateMessage): Promise<void> {
  if ((call === undefined) === (topic === undefined)) {
    throw new Fault("invalid_argument", "a `state` names a `call` or a `topic`", {
      fields: [{ path: "call", message: "one of call and topic is needed" }],
    });
  }
  const { host, reply } = asking;
  const place = after === undefined ? undefined : parsePlace(after);
  const isHeld = place !== undefined || waitMs !== undefined;
  const most = host.limits.waitMs;
  const exchange = await use(asking, call === undefined ? TOPICS + topic : CALLS + call);
  const stop = new AbortController();
  const end = (): void => stop.abort();
  const signals = [reply.signal, host.draining];
  for (const signal of signals) signal.addEventListener("abort", end, { once: true });
  try {
    const wait = {
      ...(isHeld && { signal: stop.signal, waitMs: Math.min(waitMs ?? most, most) }),
      ...(place !== undefined && { after: place as Cursor }),
    };
    await send(reply, { type: "result", id, data: await exchange.state(wait) });
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", end);
  }
}

async function items(asking: Asking, { id, call, seq, items, end }: ItemsMessage): Promise<void> {
  const { host, reply, message } = asking;
  const { itemsInFlight } = host.limits;
  if (items.length > itemsInFlight) {
    throw new Fault("resource_exhausted", `more than ${itemsInFlight} items in one message`, {
      limit: "itemsInFlight",
      hint: "send them in smaller parts",
    });
  }
  if (seq === undefined && message.redelivered) {
    throw new Fault("aborted", "the items were delivered before, and may be stored", { hint: "number them by `seq`" });
  }
  const exchange = await use(asking, CALLS + named(call, "items"));
  const given = { items, ...(seq !== undefined && { seq }), ...(end !== undefined && { end }) };
  await send(reply, { type: "ack", id, ...(await exchange.append(given)) });
}

function use({ host, principal }: Asking, to: string): Exchange | Promise<Exchange> {
  return host.peer({ to, principal, via: "amqp" });
}

function named(call: string | undefined, type: string): string {
  if (call !== undefined) return call;
  throw new Fault("invalid_argument", `in a queue \`${type}\` names its call`, {
    fields: [{ path: "call", message: "is missing" }],
  });
}

function send(reply: Reply, message: PlainServerMessage | { readonly type: "ack" }): Promise<void> {
  return say(reply, encodeMessage(message as PlainServerMessage));
}

function say(reply: Reply, body: string): Promise<void> {
  return reply.say({ type: FRAMES, contentType: FRAMES_TYPE, body });
}

function goes({ random, timing }: Host): Fault {
  return new Fault("unavailable", "the server goes", {
    detail: { close: "drain" },
    retryAfterMs: Math.ceil(random() * timing.spreadMs),
    hint: "read on from the last cursor: the next server answers",
  });
}
