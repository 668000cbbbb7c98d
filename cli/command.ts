/** What every command is given. */
import type { Args, Spec } from "./args.ts";
import type { Screen } from "./screen.ts";

export interface CommandContext {
  readonly args: Args;
  readonly screen: Screen;
  /** Aborts at the first Ctrl-C. */
  readonly interrupt: AbortSignal;
  readonly stdin: Blob;
}

export interface Command {
  readonly spec: Spec;
  /** @returns the exit code. @throws UsageError, Fault */
  run(context: CommandContext): Promise<number>;
}

/** How this program was called: `backtalk`, `./backtalk`, `npx backtalk`. */
export function command(): string {
  return process.env["BACKTALK_COMMAND"] ?? "backtalk";
}
