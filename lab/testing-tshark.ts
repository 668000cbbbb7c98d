/** For tests that ask tshark what is in a capture: skipped by a line where it is not installed, but never in CI. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { captureFile } from "./capture/file.ts";
import type { Capture } from "./experiment.ts";
import { scratch } from "./wire/scratch.ts";

/** @throws Error in CI, where it must be installed */
export function hasTshark(what: string): boolean {
  if (Bun.which("tshark") !== null) return true;
  if (process.env["CI"]) throw new Error("tshark is not installed");
  console.log(`skipped: ${what}: tshark is not installed`);
  return false;
}

/** The field of all packets of the capture's file that the filter lets through. @throws Error when tshark fails */
export async function tshark(capture: Capture, filter: string, field = "frame.number"): Promise<string[]> {
  using folder = scratch("tshark");
  const file = join(folder.path, "capture.pcapng");
  writeFileSync(file, captureFile(capture));
  // What was lost and came again is put in its place; by default Wireshark reads on from the gap.
  const settings = ["-o", "tcp.reassemble_out_of_order:TRUE"];
  const child = Bun.spawn(["tshark", "-r", file, ...settings, "-Y", filter, "-T", "fields", "-e", field], {
    stdout: "pipe",
    stderr: "ignore",
  });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`tshark cannot read the capture by ${filter}`);
  return text.split("\n").filter((line) => line !== "");
}
