/** Ports of what `serve` has besides HTTP: as with its own, a default port gives way only when others were asked for. */
import { Fault } from "../../src/log/index.ts";
import type { Port } from "../../src/start.ts";
import type { Args, Option } from "../args.ts";
import type { Screen } from "../screen.ts";

/** An option that names a port: `what` says what is reached there. */
export function portOption(what: string, otherwise: number): Option {
  return {
    value: "PORT",
    what: `${what} (default ${otherwise}; 0 takes a free one)`,
    number: { max: 65_535, whole: true },
  };
}

/**
 * The port that `--name` says, or the default. `family` are the other options of the same part: a default port
 * is only insisted on when none of them, and neither `--port` nor `--tls-port`, was given.
 */
export function portOf(args: Args, name: string, otherwise: number, family: readonly string[] = []): Port {
  const isAnyAsked = ["port", "tls-port", ...family].some((each) => args.has(each));
  return { port: args.number(name) ?? otherwise, isAsked: args.has(name) || !isAnyAsked };
}

/**
 * Opens at a port; where it is taken and nobody asked for it, at a free one, which is told.
 * @param open throws a Fault with `detail.port` when the port is taken, as `listenFault` makes it
 */
export async function openAt<T>(
  { port, isAsked }: Port,
  screen: Pick<Screen, "note">,
  open: (port: number) => T | Promise<T>,
): Promise<T> {
  try {
    return await open(port);
  } catch (thrown) {
    const isTaken = thrown instanceof Fault && thrown.code === "unavailable" && thrown.detail?.["port"] === port;
    if (!isTaken || isAsked || port === 0) throw thrown;
    screen.note(`port ${port} is in use: a free one is taken instead`);
    return await open(0);
  }
}
