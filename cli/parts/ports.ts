/**
 * Ports of `serve`, and of what it has besides HTTP. They move together: `--port 4500` is as far from each default
 * as 4500 is from 4400, at every start. A default port gives way only when others were asked for.
 */
import { Fault } from "../../src/log/index.ts";
import { movedText, type Port } from "../../src/start.ts";
import type { Args, Option } from "../args.ts";
import type { Screen } from "../screen.ts";

/** Of HTTP without TLS: what the other defaults are reckoned from. */
export const HTTP_PORT = 4400;

/** An option that names a port: `what` says what is reached there. */
export function portOption(what: string, otherwise: number): Option {
  const beside = otherwise === HTTP_PORT ? `${otherwise}` : `${otherwise}, or --port + ${otherwise - HTTP_PORT}`;
  return {
    value: "PORT",
    what: `${what} (default ${beside}; 0 takes a free one)`,
    number: { max: 65_535, whole: true },
  };
}

/**
 * The port that `--name` says, or the default, moved with `--port`. `family` are the other options of the same
 * part: a default port is only insisted on when none of them, and neither `--port` nor `--tls-port`, was given.
 */
export function portOf(args: Args, name: string, otherwise: number, family: readonly string[] = []): Port {
  const isAnyAsked = ["port", "tls-port", ...family].some((each) => args.has(each));
  return { port: args.number(name) ?? besides(args.number("port"), otherwise), isAsked: args.has(name) || !isAnyAsked };
}

/** Below 1024 ports belong to others: whoever takes 80 for HTTP does not want 130 for gRPC. */
function besides(http: number | undefined, otherwise: number): number {
  const port = (http ?? 0) + otherwise - HTTP_PORT;
  return http === undefined || http < 1024 || port > 65_535 ? otherwise : port;
}

/**
 * Opens at a port; where it is taken and nobody asked for it, at a free one, which is told.
 * @param open throws a Fault with `detail.port` when the port is taken, as `listenFault` makes it
 */
export async function openAt<T extends { readonly url: string }>(
  name: string,
  { port, isAsked }: Port,
  screen: Pick<Screen, "note">,
  open: (port: number) => T | Promise<T>,
): Promise<T> {
  try {
    return await open(port);
  } catch (thrown) {
    const isTaken = thrown instanceof Fault && thrown.code === "unavailable" && thrown.detail?.["port"] === port;
    if (!isTaken || isAsked || port === 0) throw thrown;
    const opened = await open(0);
    screen.note(movedText(port, opened.url, `--${name}`));
    return opened;
  }
}
