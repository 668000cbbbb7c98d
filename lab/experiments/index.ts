/** The experiments, in the order in which they are listed. */
import type { Experiment } from "../experiment.ts";
import { accept } from "./accept/experiment.ts";
import { blocking } from "./blocking/experiment.ts";
import { hol } from "./hol/experiment.ts";
import { idempotency } from "./idempotency/experiment.ts";
import { nagle } from "./nagle/experiment.ts";
import { pool } from "./pool/experiment.ts";
import { restart } from "./restart/experiment.ts";
import { segments } from "./segments/experiment.ts";
import { window } from "./window/experiment.ts";

export const EXPERIMENTS: readonly Experiment[] = [
  hol,
  segments,
  pool,
  nagle,
  window,
  accept,
  blocking,
  restart,
  idempotency,
];
