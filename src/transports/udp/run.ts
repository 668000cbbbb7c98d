/** Runs a question that came from an address that has proven itself, and makes its answer. */
import { ANONYMOUS, CALLS, type Call, type Exchange, type Host, type Principal } from "../../contract/index.ts";
import { Fault, toFault } from "../../log/index.ts";
import { DATAGRAM, encodeDatagram, HEADER_BYTES, jsonBytes } from "../../wire/datagram.ts";
import { childTraceparent, parseTraceparent } from "../../wire/traceparent.ts";
import { isLoopback } from "./address.ts";
import { faultDatagram } from "./fit.ts";
import type { CallQuestion, Question } from "./question.ts";

export interface Asked {
  /** Of the question. */
  readonly id: string;
  readonly address: string;
  /** Whether credentials are taken from other machines. */
  readonly isOpen: boolean;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
}

/** The datagram that answers. Never throws. */
export async function run(host: Host, question: Question, asked: Asked): Promise<Uint8Array<ArrayBuffer>> {
  let exchange: Exchange | undefined;
  try {
    const principal = await authenticated(host, question, asked);
    exchange = await host.peer(callOf(host, question, principal, asked));
    return result(asked.id, await answerOf(question, exchange), exchange.id, host.limits.datagramBytes);
  } catch (thrown) {
    const fault = toFault(thrown);
    if (!exchange) host.metrics.add("backtalk_faults_total", `transport="udp",code="${fault.code}"`, 1);
    return faultDatagram(asked.id, fault, host.limits.datagramBytes, exchange?.id);
  }
}

async function answerOf(question: Question, exchange: Exchange): Promise<object> {
  if ("cancel" in question) await exchange.cancel();
  if (!("method" in question)) return { state: await exchange.state() };
  const known = {
    ...(exchange.id !== undefined && { call: exchange.id }),
    ...(exchange.replayed && { replayed: true }),
  };
  // Also of a method that records nothing: then there is no id to come back with, only a result.
  if (question.keep && exchange.id !== undefined) return known;
  return { result: await exchange.result(), ...known };
}

function callOf(host: Host, question: Question, principal: Principal, { address, signal }: Asked): Call {
  if (!("method" in question)) {
    return { to: CALLS + ("state" in question ? question.state : question.cancel), principal, address, via: "udp" };
  }
  const { method, input = {}, key, keep, timeoutMs } = question;
  return {
    to: method,
    input,
    principal,
    key,
    keep,
    deadline: timeoutMs === undefined ? undefined : host.now() + timeoutMs,
    trace: traceOf(question, host.random),
    address,
    signal,
    via: "udp",
  };
}

function traceOf({ traceparent, tracestate }: CallQuestion, random: () => number): Call["trace"] {
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent);
  if (!parent) return undefined;
  return { traceparent: childTraceparent(parent, random), ...(tracestate !== undefined && { tracestate }) };
}

async function authenticated(host: Host, { token, apiKey }: Question, { address, isOpen }: Asked): Promise<Principal> {
  if ((token !== undefined || apiKey !== undefined) && !isOpen && !isLoopback(address)) {
    throw new Fault(
      "permission_denied",
      "credentials are not taken over UDP from other machines: anybody can read them",
      {
        hint: "use a transport with TLS, and change the credential that was sent; or let the operator allow it: --udp-credentials",
      },
    );
  }
  if (host.anonymous) return ANONYMOUS;
  return host.authenticate({
    via: "udp",
    address,
    ...(token !== undefined && { bearer: token }),
    ...(apiKey !== undefined && { apiKey }),
  });
}

/** @throws Fault `resource_exhausted` for what does not fit */
function result(id: string, answer: object, call: string | undefined, most: number): Uint8Array<ArrayBuffer> {
  let body: Uint8Array;
  try {
    body = jsonBytes(answer);
  } catch (cause) {
    throw new Fault("internal", "the result cannot be written as JSON", { cause });
  }
  const bytes = HEADER_BYTES + body.length;
  if (bytes <= most) return encodeDatagram(DATAGRAM.result, id, body);
  const hint =
    call === undefined
      ? "it was not recorded, and is lost: call over another transport, or with a key and fetch the result there"
      : `get it over another transport: GET /calls/${call}`;
  throw new Fault("resource_exhausted", `the answer has ${bytes} bytes, and a datagram at most ${most}`, {
    limit: "datagramBytes",
    retryable: false,
    hint,
    detail: { bytes, ...(call !== undefined && { call }) },
  });
}
