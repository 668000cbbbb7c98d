/** The server's log: a line for each call at most, without payloads and secrets, on stderr. */
import type { CallLine, Logger } from "../src/core/options.ts";

export const LOGS = ["all", "recorded", "defects", "none"] as const;
export type LogWhat = (typeof LOGS)[number];

/** JSON lines for programs; `time method code ms via id` for people. */
export function logger(what: LogWhat, isJson: boolean, write: (line: string) => void): Logger {
  const time = (at: number) => new Date(at).toISOString();
  return {
    calls: what === "none" ? "defects" : what,
    call(line) {
      if (what === "none") return;
      write(
        isJson
          ? JSON.stringify({ ...line, at: time(line.at), ms: Math.round(line.ms * 10) / 10, ...errorOf(line) })
          : callText(line, time(line.at)),
      );
    },
    note(level, message, fields) {
      if (what === "none" && level === "info") return;
      const now = time(Date.now());
      if (isJson) write(JSON.stringify({ at: now, level, message, ...fields }));
      else write(`${now} ${level}: ${message}${fields ? ` ${JSON.stringify(fields)}` : ""}`);
    },
  };
}

function callText(line: CallLine, time: string): string {
  const { method, code, ms, via, id, principal, attempt, error } = line;
  const rest = [
    ...(id === undefined ? [] : [id]),
    ...(principal === undefined || principal === "" ? [] : [`by ${JSON.stringify(principal)}`]),
    ...(attempt === undefined || attempt === 1 ? [] : [`attempt ${attempt}`]),
  ];
  const text = [time, method, code, `${ms.toFixed(1)} ms`, via, ...rest].join(" ");
  // Set in: a message can have lines of its caller, which are not to look like lines of this log.
  return error === undefined ? text : `${text}\n${stackOf(error)}`.replaceAll("\n", "\n    ");
}

function errorOf({ error }: CallLine): { error?: string } {
  return error === undefined ? {} : { error: stackOf(error) };
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
