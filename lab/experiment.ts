/**
 * What an experiment is: a question, what theory expects with its source, a run on an emulated network, and
 * verdicts that come from the captured packets. How it is shown is `report/`'s.
 */
import type { Conditions } from "./conditions.ts";
import type { Seen, Wire, WireOptions } from "./wire/index.ts";
import type { LinkCheck } from "./wire/selfcheck.ts";

export interface Experiment {
  /** As it is typed. */
  readonly name: string;
  /** A few words, above the table. */
  readonly title: string;
  /** One line: what it answers. */
  readonly question: string;
  /** What differs from the common conditions when nothing is said (such as a loss). */
  readonly defaults?: Partial<Conditions>;
  /** Other ways to run it: `backtalk lab https --variant retry`. */
  readonly variants?: Readonly<Record<string, string>>;
  /** What it needs besides namespaces: programs of the system, such as chromium. */
  readonly needs?: readonly string[];
  /** What of it is true over loopback, where there are no namespaces; or why nothing is: "as loopback loses nothing". */
  readonly overLoopback: OverLoopback | string;
  /** @throws Error when something that it needs is missing, with the remedy */
  run(lab: Lab): Promise<Findings>;
}

export interface OverLoopback {
  /** Keys of the columns that its programs and their kernel count: the others are not shown. */
  readonly columns: readonly string[];
  /** It needs what only this system's kernel tells. */
  readonly platform?: "linux";
}

/** What an experiment has at hand. */
export interface Lab {
  /** `network`: emulated and measured. `loopback`: the machine has no namespaces, and nothing is claimed about delay. */
  readonly over: "network" | "loopback";
  readonly conditions: Conditions;
  readonly variant: string | undefined;
  /** Where the machine has no namespaces, what stands for it: everything is 127.0.0.1, and captures are empty. */
  readonly network: (options?: NetworkOptions) => Promise<Network>;
  readonly signal: AbortSignal;
  /** What is going on now, for whoever waits. */
  progress(text: string): void;
}

export interface NetworkOptions extends Pick<WireOptions, "drops" | "snapBytes" | "captureBytes"> {
  /** Default: `client` and `server`, with the conditions on the link of the client. */
  readonly hosts?: WireOptions["hosts"];
  /** Default: that of the conditions. */
  readonly seed?: number;
  /** Echoes before anything else (default 50; 0 for none: then the caller judges nothing about time). */
  readonly echoes?: number;
}

/** A wire whose link was measured. */
export interface Network extends Wire {
  readonly check: LinkCheck | undefined;
  /** Why verdicts about time are refused here; undefined when the link is good enough. */
  readonly refusal: string | undefined;
}

export type Verdict =
  /** As expected. */
  | "ok"
  /** Not as expected: the exit code is 1. */
  | "failed"
  /** The link, the machine or the conditions do not support a verdict; `why` says so. */
  | "refused"
  /** Nothing was expected. */
  | "none";

export interface Column {
  readonly key: string;
  readonly title: string;
  /** `rt` round trips, `ms`, `bytes`, `count`, `text`, `percent`. */
  readonly unit: "rt" | "ms" | "bytes" | "count" | "text" | "percent" | "rate";
  /** What it means, for the legend of the report. */
  readonly what?: string;
}

export interface Finding {
  /** The first column: the way, the case. */
  readonly name: string;
  /** By the key of the column: a number, a text, or the samples of all runs (shown by their median). */
  readonly values: Readonly<Record<string, number | string | readonly number[]>>;
  /** What theory says, in words as in the table. */
  readonly expected?: string;
  readonly verdict: Verdict;
  /** What the capture says about it, in one line. */
  readonly why: string;
  /** The clause, such as `RFC 8446 §2.3`. */
  readonly source?: string;
  /** A paragraph for `--explain`. */
  readonly explain?: string;
  /** Name of the capture that shows it. */
  readonly capture?: string;
  /** What holds without packets, too, by what programs and their kernel counted: it is said over loopback. */
  readonly counted?: Counted;
}

/** `expected` where it is less than with packets. */
export type Counted = Pick<Finding, "expected" | "verdict" | "why">;

export interface Axis {
  readonly title: string;
  readonly unit?: string;
  /** Each tenfold takes as much room; of `lines`, `steps` and `dots` in time. What is not above zero is not drawn. */
  readonly isLogarithmic?: boolean;
}

export interface Plot {
  readonly title: string;
  readonly kind: "bars" | "dots" | "lines" | "steps";
  readonly x: Axis;
  readonly y: Axis;
  /** Of `bars` and `dots`: each series is a category with its samples, `points[i] = [i, value]` or `[category, value]`. */
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[];
}

export interface Capture {
  readonly name: string;
  /** Names and addresses, by the index in `Seen`. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  readonly seen: readonly Seen[];
  /** Lines of an NSS key log, to decrypt TLS and QUIC. */
  readonly keyLog?: string;
  /** Marks in time, such as "request sent", nanoseconds on the clock of `Seen`. */
  readonly marks?: readonly { readonly at: number; readonly host: string; readonly text: string }[];
}

export interface Findings {
  readonly columns: readonly Column[];
  readonly findings: readonly Finding[];
  readonly check?: LinkCheck | undefined;
  readonly plots?: readonly Plot[];
  readonly captures?: readonly Capture[];
  /** What else a reader should know: what was not done and why, versions of what took part. */
  readonly notes?: readonly string[];
  /** Entries for a HAR file, where requests were made. */
  readonly har?: readonly unknown[];
}
