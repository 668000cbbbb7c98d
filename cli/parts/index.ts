/** What `serve` has besides its HTTP listeners: each file here says its options, and makes a part of them. */

import type { Store } from "../../src/log/index.ts";
import type { Certificate } from "../../src/net/certificate.ts";
import type { Part } from "../../src/part.ts";
import { type Args, grouped, type Option } from "../args.ts";
import type { Screen } from "../screen.ts";
import { amqp } from "./amqp.ts";
import { describe } from "./describe.ts";
import { grpc } from "./grpc.ts";
import { sockets } from "./sockets.ts";
import { streams } from "./streams.ts";
import { udp } from "./udp.ts";
import { uploadsSpec } from "./uploads.ts";
import { webhooks } from "./webhooks.ts";

export interface PartContext {
  readonly args: Args;
  /** The address to listen on. */
  readonly hostname: string;
  /** The file of the services: what is pinned about them lies beside it. */
  readonly file: string;
  /** With it, listeners with TLS are opened too. */
  readonly certificate: Certificate | undefined;
  readonly screen: Screen;
  /** Of the server: parts keep what must outlive the process in logs of their own. */
  readonly store: Store;
}

export interface PartSpec {
  /** The heading of its options in the help. */
  readonly group: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Nothing when the options do not ask for it. @throws UsageError */
  of(context: PartContext): Part | undefined;
}

const SPECS: readonly PartSpec[] = [describe, grpc, sockets, streams, udp, uploadsSpec, amqp, webhooks];

export const PART_OPTIONS: Readonly<Record<string, Option>> = Object.assign(
  {},
  ...SPECS.map(({ group, options }) => grouped(group, options)),
);

export function partsOf(context: PartContext): Part[] {
  return SPECS.flatMap((spec) => spec.of(context) ?? []);
}
