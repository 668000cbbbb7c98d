/** The files of `--out`: a page, the packets, the numbers, and the requests where there were any. */
import { accessSync, constants, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ladderOf } from "../capture/climb.ts";
import { captureFile, clockOffset } from "../capture/file.ts";
import type { Capture } from "../experiment.ts";
import type { Run } from "../run.ts";
import { documentOf, type RunDocument } from "./document.ts";
import { harOf } from "./har.ts";
import { htmlOf } from "./html.ts";

/** Before a run that may take half a minute. @throws RangeError that says why nothing can be written there */
export function prepareOut(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
    if (!statSync(directory).isDirectory()) throw new RangeError("it is a file");
    accessSync(directory, constants.W_OK);
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    const why =
      code === "EEXIST" || code === "ENOTDIR"
        ? "a file is in the way"
        : code === "EACCES"
          ? "you may not write there"
          : message;
    throw new RangeError(`nothing can be written to ${directory}: ${why}`);
  }
}

/** @returns the names of the files. What an earlier run has left there is replaced. */
export async function writeOut(directory: string, run: Run): Promise<string[]> {
  prepareOut(directory);
  removeEarlier(directory);
  const { captures = [], har = [] } = run.findings;
  const files = captureNames(captures);
  const document = documentOf(run, files);
  // One offset for all: the files of a run can be laid side by side.
  const offset = captures.length === 0 ? 0n : clockOffset();
  const write = (name: string, data: string | Uint8Array) => {
    writeFileSync(join(directory, name), data);
    return name;
  };
  const ladders = captures.map(ladderOf);
  return [
    write("report.html", await htmlOf({ run, document, ladders })),
    write("run.json", `${JSON.stringify(document, null, 2)}\n`),
    ...captures.map((capture, index) =>
      write(files[index]!, captureFile(capture, { offset, comment: `backtalk lab ${run.experiment}` })),
    ),
    ...(har.length === 0 ? [] : [write("requests.har", `${JSON.stringify(harOf(har), null, 2)}\n`)]),
  ];
}

/** `capture.pcapng`; of several `capture-NAME.pcapng`, each once. */
export function captureNames(captures: readonly Pick<Capture, "name">[]): string[] {
  if (captures.length === 1) return ["capture.pcapng"];
  const used = new Set<string>();
  return captures.map(({ name }, index) => {
    const plain =
      name
        .normalize("NFKD")
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-|-$/g, "")
        .slice(0, 60) || String(index + 1);
    let free = plain;
    for (let n = 2; used.has(free); n++) free = `${plain}-${n}`;
    used.add(free);
    return `capture-${free}.pcapng`;
  });
}

/** Only what a run has written itself: the captures that it names, and its requests. */
function removeEarlier(directory: string): void {
  let earlier: Partial<RunDocument>;
  try {
    earlier = JSON.parse(readFileSync(join(directory, "run.json"), "utf8")) as Partial<RunDocument>;
  } catch {
    return;
  }
  const files = Array.isArray(earlier?.captures) ? earlier.captures.map((capture) => capture?.file) : [];
  for (const file of files) {
    if (typeof file === "string" && /^capture[a-z0-9-]*\.pcapng$/.test(file))
      rmSync(join(directory, file), { force: true });
  }
  rmSync(join(directory, "requests.har"), { force: true });
}
