/** Reads arguments by what a command declares, and says what is wrong with them. */
import { parseArgs } from "node:util";
import { closest } from "../src/core/util.ts";
import { UsageError } from "./exit.ts";

export interface Option {
  /** What its value is called in the help; without it the option is a switch. */
  readonly value?: string;
  readonly short?: string;
  readonly what: string;
  /** The heading that it is listed under in the help. */
  readonly group?: string;
  readonly multiple?: boolean;
  readonly choices?: readonly string[];
  /** The value is a number, at least `min` (default 0) and at most `max`. */
  readonly number?: { readonly min?: number; readonly max?: number; readonly whole?: boolean };
}

/** The options under a heading. */
export function grouped(group: string, options: Readonly<Record<string, Option>>): Readonly<Record<string, Option>> {
  return Object.fromEntries(Object.entries(options).map(([name, option]) => [name, { ...option, group }]));
}

export interface Positional {
  readonly name: string;
  readonly what: string;
  readonly optional?: boolean;
}

export interface Spec {
  readonly name: string;
  readonly summary: string;
  readonly positionals: readonly Positional[];
  readonly options: Readonly<Record<string, Option>>;
  readonly examples: readonly string[];
  readonly notes?: readonly string[];
}

/** What was given. Options that were not given are absent. */
export class Args {
  readonly positionals: readonly string[];
  readonly #values: ReadonlyMap<string, readonly (string | true)[]>;

  constructor(positionals: readonly string[], values: ReadonlyMap<string, readonly (string | true)[]>) {
    this.positionals = positionals;
    this.#values = values;
  }

  text(name: string): string | undefined {
    const value = this.#values.get(name)?.at(-1);
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): readonly string[] {
    return (this.#values.get(name) ?? []).filter((value) => value !== true);
  }

  number(name: string): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : Number(text);
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }
}

/** @throws UsageError */
export function readArgs(spec: Spec, argv: readonly string[]): Args {
  const options = Object.fromEntries(
    Object.entries(spec.options).map(([name, { value, short }]) => [
      name,
      { type: value === undefined ? ("boolean" as const) : ("string" as const), ...(short && { short }) },
    ]),
  );
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  const positionals: string[] = [];
  const values = new Map<string, (string | true)[]>();
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const option = spec.options[token.name];
    if (!option) throw unknownOption(spec, token.rawName);
    const value = checked(token.rawName, option, token.value, token.inlineValue === true);
    const before = values.get(token.name);
    if (before && !option.multiple) throw new UsageError(`${token.rawName} is given twice`);
    values.set(token.name, [...(before ?? []), value]);
  }
  checkPositionals(spec, positionals);
  return new Args(positionals, values);
}

/** How it is used, in one line. */
export function usage(spec: Spec): string {
  const words = spec.positionals.map(({ name, optional }) => (optional ? `[${name}]` : name));
  return ["backtalk", spec.name, ...words, "[options]"].join(" ");
}

function checked(raw: string, option: Option, value: string | undefined, isInline: boolean): string | true {
  if (option.value === undefined) {
    if (value !== undefined) throw new UsageError(`${raw} takes no value`);
    return true;
  }
  if (value === undefined || value === "") throw new UsageError(`${raw} needs a value: ${raw} ${option.value}`);
  if (!isInline && value.length > 1 && value.startsWith("-") && !Number.isFinite(Number(value))) {
    throw new UsageError(
      `${raw} needs a value: ${raw} ${option.value}`,
      `if ${JSON.stringify(value)} is the value, write ${raw}=${value}`,
    );
  }
  if (option.choices && !option.choices.includes(value)) {
    throw new UsageError(`${raw} cannot be ${JSON.stringify(value)}`, suggestion(value, option.choices));
  }
  if (option.number) checkNumber(raw, option, value);
  return value;
}

function checkNumber(raw: string, option: Option, text: string): void {
  const { min = 0, max, whole } = option.number!;
  const value = Number(text);
  const isRight = text.trim() !== "" && value >= min && value <= (max ?? Number.MAX_VALUE);
  if (isRight && (!whole || Number.isInteger(value))) return;
  const unit = option.value === "SECONDS" ? " of seconds" : "";
  const range = max === undefined ? `${min} or more` : `from ${min} to ${max}`;
  throw new UsageError(
    `${raw} must be a ${whole ? "whole " : ""}number${unit}, ${range}; it is ${JSON.stringify(text)}`,
  );
}

function checkPositionals(spec: Spec, given: readonly string[]): void {
  const missing = spec.positionals.find(({ optional }, index) => !optional && given[index] === undefined);
  const line = `usage: ${usage(spec)}`;
  if (missing) throw new UsageError(`${missing.name} is missing: ${missing.what}`, line);
  const extra = given[spec.positionals.length];
  if (extra === undefined) return;
  throw new UsageError(`too many arguments: ${JSON.stringify(extra)}`, line);
}

function unknownOption(spec: Spec, raw: string): UsageError {
  const names = Object.keys(spec.options).map((name) => `--${name}`);
  return new UsageError(`there is no option ${raw}`, suggestion(raw, names, `see backtalk ${spec.name} --help`));
}

export function suggestion(given: string, names: readonly string[], otherwise?: string): string {
  // Of two that are as near, the one of the same length: letters are swapped more often than left out.
  const sorted = names.toSorted((a, b) => Math.abs(a.length - given.length) - Math.abs(b.length - given.length));
  const near = closest(given, sorted) ?? names.find((name) => given.length > 2 && name.startsWith(given));
  return near === undefined ? (otherwise ?? `one of: ${names.join(", ")}`) : `did you mean ${near}?`;
}
