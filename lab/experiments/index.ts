/** The experiments, in the order in which they are listed. */
import type { Experiment } from "../experiment.ts";
import { accept } from "./accept/experiment.ts";
import { blocking } from "./blocking/experiment.ts";
import { hol } from "./hol/experiment.ts";
import { https } from "./https/experiment.ts";
import { idempotency } from "./idempotency/experiment.ts";
import { layers } from "./layers/experiment.ts";
import { migration } from "./migration/experiment.ts";
import { nagle } from "./nagle/experiment.ts";
import { patterns } from "./patterns/experiment.ts";
import { pool } from "./pool/experiment.ts";
import { replay } from "./replay/experiment.ts";
import { restart } from "./restart/experiment.ts";
import { segments } from "./segments/experiment.ts";
import { window } from "./window/experiment.ts";

export const EXPERIMENTS: readonly Experiment[] = [
  https,
  replay,
  hol,
  patterns,
  layers,
  segments,
  pool,
  nagle,
  window,
  accept,
  blocking,
  restart,
  idempotency,
  migration,
];
