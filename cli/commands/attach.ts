/** `backtalk attach`: comes back to a call. */
import { Session } from "../../src/client/session.ts";
import { ANONYMOUS, CALLS } from "../../src/contract/index.ts";
import { type Cursor, type Place, parsePlace } from "../../src/log/index.ts";
import type { Args, Spec } from "../args.ts";
import { type CommandContext, command } from "../command.ts";
import { CONNECT_OPTIONS, type Connection, connectArgs } from "../connect.ts";
import { DETACHED, OK, UsageError } from "../exit.ts";
import { follow } from "../follow.ts";
import { type Screen, shellWord } from "../screen.ts";
import { callUrl } from "../target.ts";

export const spec: Spec = {
  name: "attach",
  summary: "come back to a call, from its start or from a cursor",
  positionals: [{ name: "CALL", what: "URL/calls/ID" }],
  options: {
    after: { value: "PLACE", what: "a cursor, start or now (default start)" },
    events: { what: "print each event of the log, with its cursor, as NDJSON" },
    quiet: { what: "no progress" },
    ...CONNECT_OPTIONS,
  },
  examples: [
    "backtalk attach http://localhost:4400/calls/ID",
    "backtalk attach http://localhost:4400/calls/ID --via sse --after CURSOR",
  ],
  notes: ["Ctrl-C detaches: the call goes on."],
};

export async function run({ args, screen, interrupt }: CommandContext): Promise<number> {
  const { url, id } = callUrl(args.positionals[0]!);
  const from = placeOf(args.text("after")) ?? "start";
  const connection = reach(url, id, args, screen);
  const session = new Session(connection.context, { to: CALLS + id, principal: ANONYMOUS, via: "cli" }, interrupt);
  const progressed: { cursor: Cursor | undefined } = { cursor: undefined };
  try {
    await follow(session, { screen, from, isRaw: args.has("events"), isQuiet: args.has("quiet") }, progressed);
    return OK;
  } catch (thrown) {
    if (!interrupt.aborted) throw thrown;
    comeBack({ screen, url, id, cursor: progressed.cursor ?? from, via: args.text("via") });
    return DETACHED;
  } finally {
    connection.close();
  }
}

/** @throws UsageError, which names the whole address where another one is needed */
function reach(url: string, id: string, args: Args, screen: Screen): Connection {
  try {
    return connectArgs(url, args, screen);
  } catch (thrown) {
    if (!(thrown instanceof UsageError) || !/\w:\/\/\S+$/.test(thrown.hint ?? "")) throw thrown;
    const after = args.text("after");
    const rest = after === undefined ? "" : ` --after ${shellWord(after)}`;
    throw new UsageError(thrown.message, `${thrown.hint}/calls/${encodeURIComponent(id)}${rest}`);
  }
}

/** @throws UsageError */
export function placeOf(text: string | undefined): Place | undefined {
  if (text === undefined) return undefined;
  try {
    return parsePlace(text);
  } catch {
    throw new UsageError(
      `--after ${JSON.stringify(text)} is not a place`,
      "give a cursor as it was printed, or start, or now",
    );
  }
}

export interface ComeBack {
  readonly screen: Screen;
  readonly url: string;
  /** Undefined when the server has not said it yet. */
  readonly id: string | undefined;
  readonly cursor: Place | undefined;
  readonly via: string | undefined;
}

/** Says how to come back to a call that was left. */
export function comeBack({ screen, url, id, cursor, via }: ComeBack): void {
  screen.status(undefined);
  if (id === undefined) {
    screen.explain(["Stopped before the server had confirmed the call; see backtalk calls for what it has."]);
    return;
  }
  const after = cursor === undefined || cursor === "start" ? "" : ` --after ${shellWord(cursor)}`;
  const call = shellWord(`${url}/calls/${id}`);
  screen.note("Detached: the call goes on. Come back with");
  screen.note(`  ${command()} attach ${call}${via === undefined ? "" : ` --via ${via}`}${after}`);
}
