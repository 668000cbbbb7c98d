/** The state of a call, short and long polling of it, and cancelling (PROTOCOL.md §2.4); the caller's calls (§1.6). */
import { CALLS, type CallState, type Exchange } from "../../contract/index.ts";
import { hasEtag } from "../../wire/etag.ts";
import type { Ask } from "./ask.ts";
import { JSON_TYPE } from "./body.ts";
import type { Web } from "./web.ts";

/** `GET /calls/{id}` */
export async function getState(web: Web, ask: Ask, id: string): Promise<Response> {
  const exchange = await attach(web, ask, id);
  const wait = ask.isHead ? 0 : web.held.secondsOf(ask.prefer().wait);
  const tag = ask.header("if-none-match");
  const isTagged = tag !== null;
  let state = (await exchange.state()) as CallState;
  // With a tag: until it changes. Without: until the end.
  const isHeld = wait > 0 && state.state === "running" && (!isTagged || hasEtag(tag, tagOf(state)));
  if (isHeld) {
    const { cursor, received } = state;
    const known = { after: cursor, ...(received && { received: received.items }) };
    state = await web.held.hold(ask, async (signal) => {
      const waitMs = wait * 1000;
      return (await exchange.state({ waitMs, signal, ...(isTagged && known) })) as CallState;
    });
  }
  const headers = { ...ask.answerHeaders(), ...(isHeld && { "preference-applied": `wait=${wait}` }) };
  return stateResponse(web, state, 200, headers, tag);
}

/** `DELETE /calls/{id}` */
export async function cancelCall(web: Web, ask: Ask, id: string): Promise<Response> {
  const exchange = await attach(web, ask, id);
  await exchange.cancel();
  return stateResponse(web, (await exchange.state()) as CallState, 200, ask.answerHeaders(), null);
}

/** `GET /calls` */
export async function listCalls(web: Web, ask: Ask): Promise<Response> {
  const { query } = ask;
  const input: Record<string, string | number> = {};
  for (const name of ["state", "method", "after"]) {
    const value = query.get(name);
    if (value !== null) input[name] = value;
  }
  const limit = query.get("limit");
  // What is no number stays text, and is refused by the method's schema.
  if (limit !== null) input["limit"] = /^\d{1,9}$/.test(limit) ? Number(limit) : limit;
  ask.to = "backtalk/calls";
  ask.input = input;
  const page = (await (await web.host.peer(ask)).result()) as { next?: string };
  const headers: Record<string, string> = {
    "content-type": JSON_TYPE,
    "cache-control": "no-cache, private",
    ...ask.answerHeaders(),
  };
  if (page.next !== undefined) {
    query.set("after", page.next);
    headers["link"] = `</calls?${query}>; rel="next"`;
  }
  return new Response(JSON.stringify(page), { headers });
}

export async function attach(web: Web, ask: Ask, id: string): Promise<Exchange> {
  ask.to = CALLS + id;
  return web.host.peer(ask);
}

/** A state with its tag; 304 when the caller knows it. */
export function stateResponse(
  web: Web,
  state: CallState,
  status: 200 | 202,
  more: Readonly<Record<string, string>>,
  known: string | null,
): Response {
  const tag = tagOf(state);
  const headers: Record<string, string> = {
    etag: `"${tag}"`,
    "cache-control": "no-cache, private",
    location: `/calls/${state.id}`,
    ...more,
  };
  if (state.state === "running") headers["retry-after"] = String(pollSeconds(web.host.now() - state.openedAt));
  if (hasEtag(known, tag)) return new Response(null, { status: 304, headers });
  return new Response(JSON.stringify(state), { status, headers: { "content-type": JSON_TYPE, ...headers } });
}

/** The items of the caller are not part of the log that the cursor is a place in, but of the state. */
function tagOf({ cursor, received }: CallState): string {
  return received ? `${cursor}.${received.items}${received.ended ? "e" : ""}` : cursor;
}

/** A tenth of the call's age, so that polling finds its end at most so much late: 1 to 30 s. */
function pollSeconds(ageMs: number): number {
  return Math.min(30, Math.max(1, Math.ceil(ageMs / 10_000)));
}
