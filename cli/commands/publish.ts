/** `backtalk publish`: appends an event to a topic. */
import { newKey } from "../../src/client/call.ts";
import { Session } from "../../src/client/session.ts";
import { ANONYMOUS, TOPICS } from "../../src/contract/index.ts";
import type { Spec } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { CONNECT_OPTIONS, connectArgs } from "../connect.ts";
import { OK } from "../exit.ts";
import { readInput } from "../input.ts";
import { SERVER, serverUrl } from "../target.ts";
import { jsonLine } from "../values.ts";

export const spec: Spec = {
  name: "publish",
  summary: "publish an event to a topic",
  positionals: [
    SERVER,
    { name: "TOPIC", what: "the name of the topic" },
    { name: "EVENT", what: "JSON, @FILE, or - for stdin" },
  ],
  options: {
    key: { value: "KEY", what: "idempotency key: the same key is published once" },
    ...CONNECT_OPTIONS,
  },
  examples: [`backtalk publish localhost:4400 logins '{"user":"ada","at":0}'`],
};

export async function run({ args, screen, interrupt, stdin }: CommandContext): Promise<number> {
  const url = serverUrl(args.positionals[0]!);
  const event = await readInput(args.positionals[2], stdin);
  const connection = connectArgs(url, args, screen);
  try {
    const call = { to: TOPICS + args.positionals[1]!, principal: ANONYMOUS, via: "cli" };
    const key = args.text("key") ?? newKey();
    const session = new Session(connection.context, call, interrupt);
    const { cursor, duplicate } = await session.use((exchange) => exchange.append({ items: [event], key }));
    if (screen.isTerminal) await screen.print(duplicate ? `published before: ${cursor}` : `published: ${cursor}`);
    else await screen.print(jsonLine({ cursor, duplicate }));
    return OK;
  } finally {
    connection.close();
  }
}
