/**
 * What a transport says of itself: the nine properties by which protocols are compared, and which patterns
 * it carries. `src/transports/NAME/properties.ts` declares them; `backtalk transports` prints them.
 */

export const PROPERTIES = [
  "dataFormat",
  "transferMode",
  "addressing",
  "directionality",
  "state",
  "routing",
  "flowAndCongestion",
  "errorManagement",
  "ridesOn",
] as const;
export type Property = (typeof PROPERTIES)[number];

export const CAPABILITIES = ["unary", "serverStream", "clientStream", "bidi", "subscribe", "resume"] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** Present, with how it is done; or absent, with the reason. Present is what the suite has seen on the wire. */
export type Support = { readonly has: true; readonly how: string } | { readonly has: false; readonly why: string };

/** One or two sentences for each property, with the clause of the standard where there is one. */
export interface TransportProperties extends Readonly<Record<Property, string>> {
  /** As in `--via`. */
  readonly name: string;
  /** In a few words. */
  readonly summary: string;
  readonly capabilities: Readonly<Record<Capability, Support>>;
}
