/** Calling a method (PROTOCOL.md §2.2). The plain unary call is the path that has to be fast: keep it short. */
import type { CallState, Exchange, Method } from "../../contract/index.ts";
import { negotiate } from "../../wire/accept.ts";
import { hasEtag } from "../../wire/etag.ts";
import type { Ask } from "./ask.ts";
import { bodyType, inputOf, JSON_TYPE, NDJSON_TYPE, notJson, readInput, SSE_TYPE } from "./body.ts";
import { NDJSON, SSE } from "./encode.ts";
import { type StreamHooks, streamEvents } from "./events.ts";
import { notAcceptable, tooSlow } from "./fault.ts";
import { problem } from "./problem.ts";
import { stateResponse } from "./state.ts";
import type { Web } from "./web.ts";

/** `POST` of a unary method. */
export function postUnary(web: Web, ask: Ask): Response | Promise<Response> {
  bodyType(ask, JSON_TYPES);
  ask.readFields(web.host.now, web.host.random);
  const accept = ask.header("accept");
  if (accept !== null && accept !== "*/*" && accept !== JSON_TYPE) {
    const type = negotiate(accept, UNARY_TYPES);
    if (type === undefined) throw notAcceptable(UNARY_TYPES);
    if (type !== JSON_TYPE) return openAndStream(web, ask, type);
  }
  return ask.prefer().respondAsync ? respondAsync(web, ask) : answer(web, ask, plainResponse);
}

/** `GET` (input in the query) and `QUERY` (RFC 10008: input in the body) of a safe method. */
export function getSafe(web: Web, ask: Ask, { options }: Method): Response | Promise<Response> {
  ask.readFields(web.host.now, web.host.random);
  ask.key = undefined;
  // What was answered to one caller is not for another.
  const cacheControl = options.cacheControl ?? (web.host.anonymous ? "no-cache" : "no-cache, private");
  const respond = (_: Exchange, value: unknown) => safeResponse(ask, value, cacheControl);
  if (ask.request.method === "QUERY") {
    bodyType(ask, JSON_TYPES);
    return answer(web, ask, respond);
  }
  const input = ask.query.get("input");
  return answer(web, ask, respond, input ?? "");
}

/** `POST` of a method that streams back. */
export async function postServerStream(web: Web, ask: Ask): Promise<Response> {
  bodyType(ask, JSON_TYPES);
  ask.readFields(web.host.now, web.host.random);
  if (ask.prefer().respondAsync) return respondAsync(web, ask);
  return openAndStream(web, ask, streamType(ask));
}

/** @throws HttpFault 406 */
export function streamType(ask: Ask): typeof SSE_TYPE | typeof NDJSON_TYPE {
  const type = negotiate(ask.header("accept"), STREAM_TYPES);
  if (type === undefined) throw notAcceptable(STREAM_TYPES);
  return type;
}

/** The events of an exchange from its start. */
export function streamExchange(
  web: Web,
  ask: Ask,
  exchange: Exchange,
  type: string,
  hooks?: StreamHooks,
): Promise<Response> {
  const format = type === SSE_TYPE ? SSE : NDJSON;
  return streamEvents(web, ask, exchange, "start", format, exchangeHeaders(exchange), hooks);
}

/** Every answer about a recorded call says where it is. */
export function exchangeHeaders({ id, replayed }: Exchange): Record<string, string> {
  if (id === undefined) return {};
  return { location: `/calls/${id}`, ...(replayed && { "idempotency-replayed": "true" }) };
}

export function plainResponse(exchange: Exchange, value: unknown, ask: Ask): Response {
  // Without `nosniff`, which costs 2 % and does nothing here: only navigation and <script> sniff, and they do not POST.
  if (exchange.id === undefined && ask.trace === undefined) return Response.json(value ?? null);
  const json = JSON.stringify(value ?? null);
  const headers = { "content-type": JSON_TYPE, ...ask.answerHeaders(), ...exchangeHeaders(exchange) };
  return new Response(json, { headers });
}

/** The call is kept: its state, when it has not ended within `wait` seconds. */
export async function handleOf(web: Web, ask: Ask, exchange: Exchange): Promise<Response> {
  const wait = web.held.secondsOf(ask.preferences.wait);
  const waited = wait > 0 ? { waitMs: wait * 1000 } : undefined;
  const state = (await (waited
    ? web.held.hold(ask, (signal) => exchange.state({ ...waited, signal }))
    : exchange.state())) as CallState;
  const headers = { ...ask.answerHeaders(), ...exchangeHeaders(exchange) };
  const applied = `respond-async${wait > 0 ? `, wait=${wait}` : ""}`;
  if (state.state === "running" || !waited) {
    return stateResponse(web, state, 202, { ...headers, "preference-applied": applied }, null);
  }
  try {
    return plainResponse(exchange, await exchange.result(), ask);
  } catch (thrown) {
    return callProblem(ask, exchange, thrown);
  }
}

const JSON_TYPES = [JSON_TYPE] as const;
const UNARY_TYPES = [JSON_TYPE, SSE_TYPE, NDJSON_TYPE] as const;
const STREAM_TYPES = [NDJSON_TYPE, SSE_TYPE] as const;

type Respond = (exchange: Exchange, value: unknown, ask: Ask) => Response;

/**
 * Reads the body, calls, and answers with the result. Written with callbacks: each `await` would be another
 * turn of the queue for every request, and most results are there at once.
 */
function answer(web: Web, ask: Ask, respond: Respond, given?: string): Promise<Response> {
  const { host, watch } = web;
  return new Promise((resolve) => {
    const finish = (response: Response) => {
      if (watched.late === DONE) return;
      watched.late = DONE;
      watch.delete(watched);
      resolve(response);
    };
    const refuse = (thrown: unknown) => finish(problem(thrown, ask.answerHeaders()));
    const watched = watch.add(ask.request, ask.server, () => refuse(tooSlow(host.limits.bodyMs)));
    const settle = (exchange: Exchange) => {
      const done = (value: unknown) => {
        try {
          finish(respond(exchange, value, ask));
        } catch (thrown) {
          refuse(thrown);
        }
      };
      const value = exchange.result();
      if (value instanceof Promise) value.then(done, (thrown) => finish(callProblem(ask, exchange, thrown)));
      else done(value);
    };
    const call = (input: unknown) => {
      if (watched.late === DONE) return;
      watched.late = undefined;
      try {
        ask.input = given === undefined ? input : inputOf(given, host.limits.jsonDepth);
        const exchange = host.peer(ask);
        if (exchange instanceof Promise) exchange.then(settle).catch(refuse);
        else settle(exchange);
      } catch (thrown) {
        refuse(thrown);
      }
    };
    if (given === undefined) readInput(ask.request, host.limits).then(call, (thrown) => refuse(notJson(thrown)));
    else call(given);
  });
}

const DONE = () => {};

async function open(web: Web, ask: Ask): Promise<Exchange> {
  const text = await web.readBody(ask, web.host.limits.bodyBytes);
  ask.input = inputOf(text, web.host.limits.jsonDepth);
  ask.keep = true;
  return web.host.peer(ask);
}

async function respondAsync(web: Web, ask: Ask): Promise<Response> {
  return handleOf(web, ask, await open(web, ask));
}

async function openAndStream(web: Web, ask: Ask, type: string): Promise<Response> {
  return streamExchange(web, ask, await open(web, ask), type);
}

function safeResponse(ask: Ask, value: unknown, cacheControl: string): Response {
  const json = value === undefined ? "null" : JSON.stringify(value);
  const tag = Bun.hash(json).toString(36);
  const headers: Record<string, string> = {
    etag: `"${tag}"`,
    "cache-control": cacheControl,
    // Also to who sent no Origin: what a cache keeps of it must not be given to a page (Fetch, CORS and caches).
    vary: "Origin",
    ...ask.answerHeaders(),
  };
  if (hasEtag(ask.header("if-none-match"), tag)) return new Response(null, { status: 304, headers });
  return new Response(json, { headers: { "content-type": JSON_TYPE, ...headers } });
}

/** A fault about a call that exists says where the call is. */
export function callProblem(ask: Ask, exchange: Exchange, thrown: unknown): Response {
  return problem(thrown, { ...ask.answerHeaders(), ...exchangeHeaders(exchange) });
}
