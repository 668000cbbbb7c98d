/** What every section is given, and what makes a section. */
import type { Servers } from "./servers.ts";
import type { Report } from "./table.ts";

export interface Bench {
  /** Short rounds: shows that everything works; the figures are rough. */
  readonly quick: boolean;
  /** How often each variant is measured, and for how many seconds. */
  readonly rounds: number;
  readonly seconds: number;
  readonly servers: Servers;
  /** An empty directory that is removed at the end. */
  readonly dir: string;
  /** Tells what goes on, on stderr. */
  say(what: string): void;
}

export interface Section {
  readonly name: string;
  readonly title: string;
  run(bench: Bench): Promise<Report>;
}

/** Something that is not part of Backtalk is not there: the message says what, and how to get it. */
export class Missing extends Error {
  override readonly name = "Missing";
}
