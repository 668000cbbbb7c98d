/** The help, made from what the commands declare. */
import { type Spec, usage } from "./args.ts";
import { command } from "./command.ts";
import { exitTable } from "./exit.ts";
import { commandLines, labelled, type Style, wrap } from "./table.ts";

export function generalHelp(specs: readonly Spec[], style: Style): string[] {
  return [
    ...wrap(`${style.bold("backtalk")}: one handler, every way to talk to it; every call can be resumed`, style.width),
    "",
    "usage: backtalk COMMAND [arguments] [options]",
    "",
    ...specs.flatMap(({ name, summary }) => labelled(`  ${name}`, summary, style)),
    ...labelled("  help", "this, or backtalk help COMMAND", style),
    ...labelled("  version", "the version of backtalk and of Bun", style),
    "",
    style.bold("to begin with"),
    ...BEGINNING.flatMap((each) => commandLines(pasted(each), style.width)),
    "",
    style.bold("exit codes"),
    ...exitTable().flatMap(([code, what]) => labelled(`  ${code}`, what, style)),
  ];
}

const BEGINNING = [
  "backtalk serve service.ts",
  `backtalk call localhost:4400 first.hello '{"name":"Ann"}'`,
  "backtalk help call",
];

/** An example as it is typed here: `./backtalk`, `npx backtalk`. */
function pasted(example: string): string {
  return example.replace(/(^|\| )backtalk /g, (_, before: string) => `${before}${command()} `);
}

export function commandHelp(spec: Spec, style: Style): string[] {
  const options = Object.entries(spec.options).map(([name, { value, what, short, group = "" }]) => {
    const flag = `  ${short ? `-${short}, ` : ""}--${name}${value === undefined ? "" : ` ${value}`}`;
    return [flag, what, group] as const;
  });
  const rows = [...spec.positionals.map(({ name, what }) => [`  ${name}`, what, ""] as const), ...options];
  rows.push(["  --help", "this", ""]);
  const labelWidth = Math.min(24, Math.max(...rows.map(([label]) => label.length)));
  return [
    ...wrap(`${style.bold(`backtalk ${spec.name}`)}: ${spec.summary}`, style.width),
    "",
    ...wrap(`usage: ${usage(spec)}`, style.width),
    "",
    ...[...Map.groupBy(rows, ([, , group]) => group)].flatMap(([group, those]) => [
      ...(group === "" ? [] : ["", style.bold(group)]),
      ...those.flatMap(([label, what]) => row(label, what, style, labelWidth)),
    ]),
    ...(spec.notes ?? []).flatMap((note) => ["", ...labelled("", note, style, 0).map((line) => line.trim())]),
    "",
    style.bold("examples"),
    ...spec.examples.flatMap((example) => commandLines(pasted(example), style.width)),
  ];
}

/** A label that is too long for its column gets a line of its own. */
function row(label: string, what: string, style: Style, labelWidth: number): string[] {
  if (label.length <= labelWidth) return labelled(label, what, style, labelWidth);
  return [style.dim(label), ...labelled("", what, style, labelWidth)];
}
