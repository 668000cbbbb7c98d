/** `backtalk call`: makes a call, and prints what comes. */
import { newKey } from "../../src/client/call.ts";
import { Session } from "../../src/client/session.ts";
import { upload } from "../../src/client/upload.ts";
import { ANONYMOUS, type Call, type CallState } from "../../src/contract/index.ts";
import { type Cursor, Fault } from "../../src/log/index.ts";
import type { Args, Spec } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { answersOnce, CONNECT_OPTIONS, connectArgs } from "../connect.ts";
import { DETACHED, OK, UsageError } from "../exit.ts";
import { FILE_OPTIONS, filesOf, sendFiles } from "../files.ts";
import { follow } from "../follow.ts";
import { readInput, readItems } from "../input.ts";
import { methodName, SERVER, serverUrl } from "../target.ts";
import { jsonLine, pretty } from "../values.ts";
import { comeBack } from "./attach.ts";

export const spec: Spec = {
  name: "call",
  summary: "call a method, and print its result or what it streams",
  positionals: [
    SERVER,
    { name: "METHOD", what: "service.method" },
    { name: "INPUT", what: "JSON, @FILE, or - for stdin (default {})", optional: true },
  ],
  options: {
    ...FILE_OPTIONS,
    items: { what: "for a method that takes many inputs: a JSON array, or a line each of @FILE or -" },
    async: { what: "do not wait: print the address of the call" },
    wait: { value: "SECONDS", what: "wait so long, then print the address of the call", number: {} },
    key: { value: "KEY", what: "idempotency key: the same key and input is the same call" },
    timeout: { value: "SECONDS", what: "the server ends the call after so long", number: { min: 0.001 } },
    plain: { what: "one request, one answer: not recorded, nothing to come back to" },
    events: { what: "print each event of the log, with its cursor, as NDJSON" },
    quiet: { what: "no progress" },
    ...CONNECT_OPTIONS,
  },
  examples: [
    `backtalk call localhost:4400 studio.isPrime '{"n":97}'`,
    `backtalk call localhost:4400 studio.countdown '{"from":5,"intervalMs":500}' --via websocket`,
    "backtalk call localhost:4400 studio.develop @photo.json --async",
    "backtalk call localhost:4400 studio.develop --file image=@photo.jpg",
    `printf '{"text":"hi"}\\n' | backtalk call localhost:4400 studio.chat - --items`,
  ],
  notes: [
    'In a pipe the output is a line of JSON for each item and for the result, and {"progress":...} for progress.',
    "Ctrl-C detaches: the call goes on, and the command to come back is printed.",
  ],
};

export async function run({ args, screen, interrupt, stdin }: CommandContext): Promise<number> {
  const url = serverUrl(args.positionals[0]!);
  const to = methodName(args.positionals[1]!);
  const given = args.positionals[2];
  const hasItems = args.has("items");
  check(args, hasItems, given);
  const files = filesOf(args);
  const read = hasItems ? undefined : ((await readInput(given, stdin)) ?? {});
  const input = files.length === 0 ? read : await sendFiles(files, read, { url, args, screen, signal: interrupt });
  const connection = connectArgs(url, args, screen);
  const { context } = connection;
  const timeout = args.number("timeout");
  const base = {
    to,
    principal: ANONYMOUS,
    via: "cli",
    ...(input !== undefined && { input }),
    ...(timeout !== undefined && { deadline: Date.now() + timeout * 1000 }),
  };
  try {
    const key = args.text("key");
    // Over what brings one answer only there is nothing to follow: the call is made, and its answer printed.
    const isOnce = answersOnce(args, url) && !["async", "wait", "events", "items"].some((each) => args.has(each));
    if (args.has("plain") || isOnce) return await plain({ ...base, key });
    return await recorded({ ...base, key: key ?? newKey() });
  } finally {
    connection.close();
  }

  async function plain(call: Call): Promise<number> {
    const exchange = await context.peer({ ...call, signal: interrupt });
    const result = await exchange.result(interrupt);
    await screen.print(screen.isTerminal ? pretty(result, screen.width) : jsonLine(result));
    return OK;
  }

  async function recorded(call: Call): Promise<number> {
    const leave = new AbortController();
    const onInterrupt = () => leave.abort(interrupt.reason);
    interrupt.addEventListener("abort", onInterrupt, { once: true });
    const isAsync = args.has("async");
    // A call with items is opened before them, whatever the transport.
    const session = new Session(context, isAsync || hasItems ? { ...call, keep: true } : call, leave.signal);
    const progressed: { cursor: Cursor | undefined } = { cursor: undefined };
    const wait = args.number("wait");
    const timer = wait === undefined ? undefined : setTimeout(() => leave.abort(WAITED), wait * 1000);
    const refusal: { why?: UsageError } = {};
    const asking = hasItems || isAsync ? undefined : setTimeout(() => void refuseItems(session, leave, refusal), 700);
    const sending = hasItems ? upload(session, readItems(given!, stdin)) : undefined;
    try {
      if (isAsync) {
        await session.use(() => {});
        await sending;
        await screen.print(addressOf(session.id));
        return OK;
      }
      const options = { ...followOptions(args, screen), ...(!hasItems && { waitsFor: to.replace("/", ".") }) };
      const reading = follow(session, options, progressed);
      // The end of the call is the end of the command; that all items are sent is not.
      await (sending ? Promise.race([reading, sending.then(() => reading)]) : reading);
      return OK;
    } catch (thrown) {
      if (refusal.why) throw refusal.why;
      if (!leave.signal.aborted) throw thrown;
      if (leave.signal.reason === WAITED && session.id !== undefined) {
        await screen.print(addressOf(session.id));
        return OK;
      }
      comeBack({ screen, url, id: session.id, cursor: progressed.cursor, via: args.text("via") });
      return DETACHED;
    } finally {
      clearTimeout(timer);
      clearTimeout(asking);
      interrupt.removeEventListener("abort", onInterrupt);
    }
  }

  function addressOf(id: string | undefined): string {
    if (id === undefined) throw new Fault("unimplemented", `${to} does not record its calls`);
    return `${url}/calls/${id}`;
  }
}

/** A method that waits for items which nobody is going to send would wait for ever: only its call can tell. */
async function refuseItems(session: Session, leave: AbortController, refusal: { why?: UsageError }): Promise<void> {
  try {
    await session.use(async (exchange) => {
      const state = (await exchange.state()) as CallState;
      if (state.state !== "running" || !state.received || state.received.items > 0 || state.received.ended) return;
      // Said before, since the reading may see the end first.
      refusal.why = new UsageError(
        `${state.method} takes a stream of items`,
        "give them with --items: a JSON array, @FILE or -",
      );
      await exchange.cancel();
      leave.abort();
    });
  } catch {
    // The call itself tells what is wrong.
  }
}

/** Why the waiting ended: `--wait`. */
const WAITED = Symbol("waited");

export function followOptions(args: Args, screen: CommandContext["screen"]) {
  return { screen, from: "start" as const, isRaw: args.has("events"), isQuiet: args.has("quiet") };
}

function check(args: Args, hasItems: boolean, given: string | undefined): void {
  const both = (a: string, b: string) => {
    if (args.has(a) && args.has(b)) throw new UsageError(`--${a} and --${b} cannot be used together`);
  };
  for (const other of ["async", "wait", "key", "items", "events"]) both("plain", other);
  both("file", "items");
  both("async", "wait");
  if (hasItems && given === undefined) throw new UsageError("--items needs INPUT: a JSON array, @FILE or -");
}
