/** Requests of strangers: the input as JSON, answered by `result` or `fault`, a stream by its events before. */
import type { Call, Exchange, Host } from "../../contract/index.ts";
import { Fault, toFault } from "../../log/index.ts";
import { type Answering, faultPart, type Outcome } from "./calls.ts";
import type { Message } from "./driver.ts";
import { HEADER } from "./names.ts";
import type { Reply } from "./reply.ts";
import { callKeyOf, deadlineOf, jsonOf, mayHaveRun, methodOf, principalOf, textOf, traceOf } from "./request.ts";

/** Faults by which a message will fare no better another time. */
const BAD: ReadonlySet<string> = new Set([
  "invalid_argument",
  "not_found",
  "unauthenticated",
  "permission_denied",
  "unimplemented",
]);

export async function answerPlain({ host, reply, trustUsers }: Answering, message: Message): Promise<Outcome> {
  let exchange: Exchange;
  try {
    exchange = await open(host, message, reply, trustUsers);
  } catch (thrown) {
    const fault = toFault(thrown);
    const isBad = BAD.has(fault.code) || !fault.retryable;
    if (host.draining.aborted && fault.code === "unavailable") return "left";
    if (reply.isDeaf && !isBad) return "later";
    await reply.say(faultPart(fault));
    return isBad ? "bad" : "answered";
  }
  const { id } = exchange;
  const headers = id === undefined ? {} : { headers: { [HEADER.call]: id } };
  try {
    const kind = host.contract.methods.get(methodOf(message, host))!.kind;
    if (kind === "serverStream" || kind === "bidi") await sayEvents(exchange, reply, host);
    const result = await exchange.result();
    await reply.say({ type: "result", body: JSON.stringify(result ?? null), ...headers });
  } catch (thrown) {
    const fault = toFault(thrown);
    // The call goes on in the next process, which gets this message again.
    if (host.draining.aborted && fault.code === "unavailable" && id !== undefined) return "left";
    await reply.say(faultPart(fault, id));
    // Of a call that is not recorded the input is looked at only now.
    if (id === undefined && fault.code === "invalid_argument") return "bad";
  }
  return "answered";
}

async function open(host: Host, message: Message, reply: Reply, trustUsers: boolean): Promise<Exchange> {
  const to = methodOf(message, host);
  const { kind, options } = host.contract.methods.get(to)!;
  const input = jsonOf(textOf(message, host));
  const key = options.safe ? undefined : callKeyOf(message);
  if (message.redelivered && key === undefined && !options.safe) {
    throw mayHaveRun();
  }
  const takesItems = kind === "clientStream" || kind === "bidi";
  if (takesItems && !Array.isArray(input)) {
    throw new Fault("invalid_argument", `${to} takes many inputs: send an array of them`);
  }
  const deadline = deadlineOf(message, host);
  const trace = traceOf(message, host);
  const call: Call = {
    to,
    ...(!takesItems && { input }),
    principal: await principalOf(message, host, trustUsers),
    key,
    deadline,
    trace,
    via: "amqp",
    signal: reply.signal,
  };
  const exchange = await host.peer(call);
  if (takesItems) await exchange.append({ items: input as unknown[], seq: 0, end: true });
  return exchange;
}

/** After a redelivery they come again from the start: a reader that has seen some skips them by their cursor. */
async function sayEvents(exchange: Exchange, reply: Reply, host: Host): Promise<void> {
  if (reply.isDeaf) return;
  const signal = AbortSignal.any([reply.signal, host.draining]);
  for await (const { events } of exchange.read({ from: "start", follow: true, signal })) {
    const said = events.map(({ kind, json, cursor }) =>
      kind === "item" || kind === "progress"
        ? reply.say({ type: kind, body: json, headers: { [HEADER.call]: exchange.id!, [HEADER.cursor]: cursor } })
        : undefined,
    );
    await Promise.all(said);
  }
  if (host.draining.aborted) throw new Fault("unavailable", "the server goes");
}
