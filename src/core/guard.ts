/** Asks the server's `authorize` before each use of a call or a topic: what may be read need not be written. */
import type { Action, Exchange, Principal } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import type { Context } from "./context.ts";
import { pagesAfter } from "./pages.ts";

/**
 * The same exchange; its methods ask first. Who has just opened the call hears what it says without being asked
 * again (`writes`).
 */
export function guarded<E extends Exchange>(
  context: Context,
  exchange: E,
  principal: Principal,
  on: "call" | "topic",
  name: string,
  asked: "all" | "writes" = "all",
): E {
  if (!context.authorize) return exchange;
  const may = (verb: Action["verb"]) => mayOrThrow(context, principal, verb, on, name);
  const { append, cancel, state, result, read } = exchange;
  exchange.append = async (items) => {
    await may(on === "topic" ? "publish" : "append");
    return append.call(exchange, items);
  };
  exchange.cancel = async () => {
    await may("cancel");
    return cancel.call(exchange);
  };
  if (asked === "writes") return exchange;
  exchange.state = async (wait) => {
    await may("read");
    return state.call(exchange, wait);
  };
  exchange.result = async (signal) => {
    await may("read");
    return result.call(exchange, signal);
  };
  exchange.read = (at) =>
    pagesAfter(
      () => may("read"),
      () => read.call(exchange, at),
    );
  return exchange;
}

/** @throws Fault `permission_denied`, or the one that `authorize` throws */
export async function mayOrThrow(
  context: Context,
  principal: Principal,
  verb: Action["verb"],
  on: Action["on"],
  name: string,
): Promise<void> {
  let isAllowed: boolean;
  try {
    isAllowed = await context.authorize!(principal, { verb, on, name });
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    throw new Fault("internal", "it could not be found out whether this is allowed", { cause: thrown });
  }
  if (isAllowed) return;
  throw new Fault("permission_denied", `not allowed: ${verb} ${on} ${name}`, {
    hint: "ask the operator for the right, or use other credentials",
  });
}
