/** `backtalk calls`: the caller's own calls. */
import { ANONYMOUS, type CallState } from "../../src/contract/index.ts";
import type { Args, Spec } from "../args.ts";
import { type CommandContext, command } from "../command.ts";
import { CONNECT_OPTIONS, connectArgs } from "../connect.ts";
import { OK } from "../exit.ts";
import { oneLine, shellWord } from "../screen.ts";
import { table } from "../table.ts";
import { methodName, SERVER, serverUrl } from "../target.ts";
import { durationText, jsonLine } from "../values.ts";

export const spec: Spec = {
  name: "calls",
  summary: "list your calls, newest first",
  positionals: [SERVER],
  options: {
    state: {
      value: "STATE",
      what: "running, done, failed or cancelled",
      choices: ["running", "done", "failed", "cancelled"],
    },
    method: { value: "METHOD", what: "only calls of service.method" },
    limit: { value: "N", what: "at most so many (default 20)", number: { min: 1, max: 1000, whole: true } },
    after: { value: "NEXT", what: "the page after, as it was printed" },
    brief: { what: "in a pipe without progress, result, fault and fold, which can be large" },
    ...CONNECT_OPTIONS,
  },
  examples: ["backtalk calls localhost:4400 --state running", "backtalk calls localhost:4400 --brief | jq .state"],
  notes: ["In a pipe the output is a line of JSON for each call."],
};

interface CallsPage {
  readonly calls: readonly CallState[];
  readonly next?: string;
}

export async function run({ args, screen, interrupt }: CommandContext): Promise<number> {
  const url = serverUrl(args.positionals[0]!);
  const method = args.text("method");
  const input = {
    limit: args.number("limit") ?? 20,
    ...(args.has("state") && { state: args.text("state") }),
    ...(method !== undefined && { method: methodName(method) }),
    ...(args.has("after") && { after: args.text("after") }),
  };
  const connection = connectArgs(url, args, screen);
  try {
    const { peer } = connection.context;
    const exchange = await peer({ to: "backtalk/calls", input, principal: ANONYMOUS, via: "cli", signal: interrupt });
    const { calls, next } = (await exchange.result(interrupt)) as CallsPage;
    if (!screen.isTerminal) {
      for (const call of calls) await screen.print(jsonLine(args.has("brief") ? brief(call) : call));
    } else if (calls.length === 0) {
      await screen.print("no calls");
    } else {
      await screen.printAll(table(["CALL", "METHOD", "STATE", "SINCE", "TOOK"], calls.map(rowOf), screen.style));
    }
    if (next !== undefined)
      screen.note(`more: ${command()} calls ${url} ${filters(args)}--after ${shellWord(String(next))}`);
    return OK;
  } finally {
    connection.close();
  }
}

/** What a table shows: images and the like are in the rest. */
function brief({ progress: _progress, result: _result, fault: _fault, fold: _fold, ...rest }: CallState): object {
  return rest;
}

function filters(args: Args): string {
  const given = ["state", "method", "limit"].filter((name) => args.has(name));
  return given.map((name) => `--${name} ${args.text(name)} `).join("");
}

function rowOf({ id, method, state, openedAt, endedAt, attempt }: CallState): string[] {
  const now = Date.now();
  return [
    oneLine(id),
    oneLine(method).replace("/", "."),
    oneLine(attempt > 1 ? `${state} (${attempt})` : state),
    `${durationText(Math.max(0, now - openedAt))} ago`,
    durationText(Math.max(0, (endedAt ?? now) - openedAt)),
  ];
}
