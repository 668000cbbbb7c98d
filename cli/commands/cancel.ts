/** `backtalk cancel`: ends a call. */
import { Session } from "../../src/client/session.ts";
import { ANONYMOUS, CALLS } from "../../src/contract/index.ts";
import type { Spec } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { CONNECT_OPTIONS, connectArgs } from "../connect.ts";
import { OK } from "../exit.ts";
import { callUrl } from "../target.ts";
import { jsonLine } from "../values.ts";

export const spec: Spec = {
  name: "cancel",
  summary: "end a call; harmless when it has ended",
  positionals: [{ name: "CALL", what: "URL/calls/ID" }],
  options: CONNECT_OPTIONS,
  examples: ["backtalk cancel http://localhost:4400/calls/ID"],
};

export async function run({ args, screen, interrupt }: CommandContext): Promise<number> {
  const { url, id } = callUrl(args.positionals[0]!);
  const connection = connectArgs(url, args, screen);
  try {
    const session = new Session(connection.context, { to: CALLS + id, principal: ANONYMOUS, via: "cli" }, interrupt);
    await session.cancel();
    const { state } = await session.state();
    await screen.print(screen.isTerminal ? String(state) : jsonLine({ id, state }));
    return OK;
  } finally {
    connection.close();
  }
}
