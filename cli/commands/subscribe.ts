/** `backtalk subscribe`: prints the events of a topic as they come. */
import { Session } from "../../src/client/session.ts";
import { ANONYMOUS, TOPICS } from "../../src/contract/index.ts";
import type { Cursor } from "../../src/log/index.ts";
import type { Spec } from "../args.ts";
import { type CommandContext, command } from "../command.ts";
import { CONNECT_OPTIONS, connectArgs } from "../connect.ts";
import { DETACHED, OK } from "../exit.ts";
import { follow } from "../follow.ts";
import { shellWord } from "../screen.ts";
import { SERVER, serverUrl } from "../target.ts";
import { placeOf } from "./attach.ts";

export const spec: Spec = {
  name: "subscribe",
  summary: "print the events of a topic as they come",
  positionals: [SERVER, { name: "TOPIC", what: "the name of the topic" }],
  options: {
    after: { value: "PLACE", what: "a cursor, start or now (default now)" },
    count: { value: "N", what: "stop after so many events", number: { min: 1, whole: true } },
    events: { what: "print each event with its cursor and time" },
    ...CONNECT_OPTIONS,
  },
  examples: [
    "backtalk subscribe localhost:4400 logins",
    "backtalk subscribe localhost:4400 photos --after start --via sse | jq .stage",
  ],
};

export async function run({ args, screen, interrupt }: CommandContext): Promise<number> {
  const url = serverUrl(args.positionals[0]!);
  const topic = args.positionals[1]!;
  const from = placeOf(args.text("after")) ?? "now";
  const connection = connectArgs(url, args, screen);
  const session = new Session(connection.context, { to: TOPICS + topic, principal: ANONYMOUS, via: "cli" }, interrupt);
  const progressed: { cursor: Cursor | undefined } = { cursor: undefined };
  const options = { screen, from, isRaw: args.has("events"), isQuiet: true, count: args.number("count") };
  try {
    await follow(session, options, progressed);
    return OK;
  } catch (thrown) {
    if (!interrupt.aborted) throw thrown;
    const via = args.has("via") ? ` --via ${args.text("via")}` : "";
    screen.note("Stopped. Go on where it was with");
    const words = [url, topic].map(shellWord).join(" ");
    screen.note(`  ${command()} subscribe ${words}${via} --after ${shellWord(progressed.cursor ?? from)}`);
    return DETACHED;
  } finally {
    connection.close();
  }
}
