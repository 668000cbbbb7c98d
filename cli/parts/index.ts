/** What `serve` has besides its HTTP listeners: each file here says its options, and makes a part of them. */
import type { Certificate } from "../../src/net/certificate.ts";
import type { Part } from "../../src/part.ts";
import type { Args, Option } from "../args.ts";
import type { Screen } from "../screen.ts";

export interface PartContext {
  readonly args: Args;
  /** The address to listen on. */
  readonly hostname: string;
  /** The file of the services: what is pinned about them lies beside it. */
  readonly file: string;
  /** With it, listeners with TLS are opened too. */
  readonly certificate: Certificate | undefined;
  readonly screen: Screen;
}

export interface PartSpec {
  readonly options: Readonly<Record<string, Option>>;
  /** Nothing when the options do not ask for it. @throws UsageError */
  of(context: PartContext): Part | undefined;
}

const SPECS: readonly PartSpec[] = [];

export const PART_OPTIONS: Readonly<Record<string, Option>> = Object.assign({}, ...SPECS.map(({ options }) => options));

export function partsOf(context: PartContext): Part[] {
  return SPECS.flatMap((spec) => spec.of(context) ?? []);
}
