/** Methods whose caller streams: items come in the body, the answer is one result or a stream (PROTOCOL.md §2.2). */
import type { CallState, Exchange } from "../../contract/index.ts";
import { Fault, toFault } from "../../log/index.ts";
import type { Ask } from "./ask.ts";
import { callProblem, handleOf, plainResponse, streamExchange, streamType } from "./call.ts";
import { appendBody } from "./items.ts";
import type { EventStream } from "./stream.ts";
import type { Web } from "./web.ts";

/** `POST` of a method with client streaming: many in, one out. */
export async function postClientStream(web: Web, ask: Ask): Promise<Response> {
  const exchange = await open(web, ask);
  const isAsync = ask.prefer().respondAsync;
  // The caller wants the id first; the items come by POST /calls/{id}/items.
  if (isAsync && ask.request.body === null) return handleOf(web, ask, exchange);
  ask.server.timeout(ask.request, 0);
  try {
    const result = await itemsThenResult(web, ask, exchange, isAsync);
    return result === LATER ? await handleOf(web, ask, exchange) : plainResponse(exchange, result, ask);
  } catch (thrown) {
    return callProblem(ask, exchange, thrown);
  } finally {
    ask.server.timeout(ask.request, web.idleSeconds);
  }
}

/** `POST` of a bidirectional method: the answer begins while the body still comes. */
export async function postBidi(web: Web, ask: Ask): Promise<Response> {
  const isAsync = ask.prefer().respondAsync;
  const type = isAsync ? undefined : streamType(ask);
  const exchange = await open(web, ask);
  if (isAsync && ask.request.body === null) return handleOf(web, ask, exchange);
  if (type === undefined) {
    try {
      await appendBody(web, ask, exchange, 0, true, undefined, isAsync);
    } catch (thrown) {
      return callProblem(ask, exchange, thrown);
    }
    return handleOf(web, ask, exchange);
  }
  // Aborted when the answer ends, whoever ended it: then nobody wants the rest of the body.
  const abort = new AbortController();
  const items = appendBody(web, ask, exchange, 0, true, abort.signal);
  const opened = (stream: EventStream) => {
    items.catch((thrown) => {
      // The header has gone already: an item that is refused is told of in the stream. A broken body is not: its sender is gone.
      if (!ask.signal.aborted) stream.close("fault", 0, toFault(thrown));
    });
  };
  items.catch(() => {});
  return streamExchange(web, ask, exchange, type, { abort, opened });
}

const LATER = Symbol("later");

/**
 * The result can come before the end of the items: the handler may need no more, or the call was ended by
 * its deadline. Then the rest of the body is not read.
 */
async function itemsThenResult(web: Web, ask: Ask, exchange: Exchange, isAsync: boolean): Promise<unknown> {
  const stop = new AbortController();
  const items = appendBody(web, ask, exchange, 0, true, stop.signal, isAsync);
  if (isAsync) {
    await items;
    return LATER;
  }
  const result = Promise.resolve(exchange.result());
  const first = await Promise.race([
    items.then(
      () => "items",
      () => "broken",
    ),
    result.then(
      () => "result",
      () => "result",
    ),
  ]);
  if (first === "result") {
    stop.abort(new Fault("cancelled", "the call has ended"));
    items.catch(() => {});
  } else if (first === "broken") {
    result.catch(() => {});
    // A call that has ended takes no more items: its end says more than that.
    const isGone = ask.signal.aborted;
    if (isGone || ((await exchange.state()) as CallState).state === "running") await items;
  }
  return result;
}

async function open(web: Web, ask: Ask): Promise<Exchange> {
  ask.readFields(web.host.now, web.host.random);
  ask.keep = true;
  return web.host.peer(ask);
}
