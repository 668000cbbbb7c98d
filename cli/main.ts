/** The command line: the composition root, which names every store and every transport. */
import packageJson from "../package.json";
import { readArgs, suggestion } from "./args.ts";
import { type Command, command as commandTyped } from "./command.ts";
import * as attach from "./commands/attach.ts";
import * as call from "./commands/call.ts";
import * as calls from "./commands/calls.ts";
import * as cancel from "./commands/cancel.ts";
import * as contract from "./commands/contract.ts";
import * as lab from "./commands/lab.ts";
import * as probe from "./commands/probe.ts";
import * as publish from "./commands/publish.ts";
import * as serve from "./commands/serve.ts";
import * as subscribe from "./commands/subscribe.ts";
import * as transports from "./commands/transports.ts";
import * as worker from "./commands/worker.ts";
import { DETACHED, explain, OK, UsageError } from "./exit.ts";
import { commandHelp, generalHelp } from "./help.ts";
import { catchInterrupt } from "./interrupt.ts";
import { Screen } from "./screen.ts";

const COMMANDS: readonly Command[] = [
  serve,
  worker,
  call,
  attach,
  cancel,
  publish,
  subscribe,
  calls,
  contract,
  transports,
  lab,
  probe,
];

export async function main(argv: readonly string[], screen: Screen): Promise<number> {
  const interrupt = catchInterrupt((code) => process.exit(code));
  try {
    return await dispatch(argv, screen, interrupt.signal);
  } catch (thrown) {
    screen.status(undefined);
    if (interrupt.signal.aborted) return DETACHED;
    const { code, lines } = explain(thrown);
    screen.explain(lines.map(asTyped).map((line, index) => (index === 0 ? `backtalk: ${line}` : line)));
    return code;
  } finally {
    interrupt.release();
  }
}

async function dispatch(argv: readonly string[], screen: Screen, interrupt: AbortSignal): Promise<number> {
  const [name, ...rest] = argv;
  if (name === "version" || name === "--version" || name === "-V") {
    await screen.print(`backtalk ${packageJson.version} (Bun ${Bun.version})`);
    return OK;
  }
  const isHelp = name === "help" || name === "--help" || name === "-h";
  if (name === undefined || (isHelp && rest[0] === undefined)) {
    const specs = COMMANDS.map(({ spec }) => spec);
    await screen.printAll(generalHelp(specs, screen.style));
    return OK;
  }
  const command = commandOf(isHelp ? rest[0]! : name);
  if (isHelp || asksForHelp(rest)) {
    await screen.printAll(commandHelp(command.spec, screen.style));
    return OK;
  }
  const args = readArgs(command.spec, rest);
  if (args.has("json")) screen.printForPrograms();
  return await command.run({ args, screen, interrupt, stdin: Bun.stdin });
}

/** Commands in a hint, as they are typed here: `./backtalk`, `npx backtalk`. */
function asTyped(line: string): string {
  const names = ["help", ...COMMANDS.map(({ spec }) => spec.name)].join("|");
  return line.replace(new RegExp(`(?<![\\w./-])backtalk (?=(?:${names})\\b)`, "g"), `${commandTyped()} `);
}

/** @throws UsageError */
function commandOf(name: string): Command {
  const found = COMMANDS.find(({ spec }) => spec.name === name);
  if (found) return found;
  const names = COMMANDS.map(({ spec }) => spec.name);
  const what = name.startsWith("-") ? "there is no option" : "there is no command";
  throw new UsageError(`${what} ${name}`, suggestion(name, names, "see backtalk help"));
}

function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return (end < 0 ? argv : argv.slice(0, end)).some((word) => word === "--help" || word === "-h");
}

if (import.meta.main) {
  for (const stream of [process.stdout, process.stderr]) {
    // The reader of a pipe went, as `head` does: 128 + SIGPIPE, as if the signal had ended this process.
    stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 141 : 1));
  }
  const screen = new Screen({ out: process.stdout, err: process.stderr, env: process.env });
  process.exit(await main(process.argv.slice(2), screen));
}
