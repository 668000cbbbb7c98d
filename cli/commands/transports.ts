/** `backtalk transports`: what each transport is, as it declares itself. */
import {
  CAPABILITIES,
  type Capability,
  PROPERTIES,
  type Property,
  type TransportProperties,
} from "../../src/contract/transport.ts";
import { properties as amqp } from "../../src/transports/amqp/properties.ts";
import { properties as http } from "../../src/transports/http/properties.ts";
import { properties as memory } from "../../src/transports/memory/properties.ts";
import { properties as rpc } from "../../src/transports/rpc/properties.ts";
import { properties as tcp } from "../../src/transports/tcp/properties.ts";
import { properties as udp } from "../../src/transports/udp/properties.ts";
import { properties as websocket } from "../../src/transports/websocket/properties.ts";
import type { Spec } from "../args.ts";
import { suggestion } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { OK, UsageError } from "../exit.ts";
import { labelled, type Style, table } from "../table.ts";

export const TRANSPORTS: readonly TransportProperties[] = [
  ...http,
  ...websocket,
  ...rpc,
  ...tcp,
  ...udp,
  ...amqp,
  ...memory,
];

export const spec: Spec = {
  name: "transports",
  summary: "compare the transports by the nine properties of a protocol",
  positionals: [{ name: "TRANSPORT", what: "only this one", optional: true }],
  options: { json: { what: "as JSON" } },
  examples: ["backtalk transports", "backtalk transports websocket"],
};

export async function run({ args, screen }: CommandContext): Promise<number> {
  const name = args.positionals[0];
  const names = TRANSPORTS.map((each) => each.name);
  const chosen = TRANSPORTS.filter((each) => name === undefined || each.name === name);
  if (chosen.length === 0) {
    throw new UsageError(`there is no transport ${JSON.stringify(name)}`, suggestion(name!, names));
  }
  if (args.has("json")) await screen.print(JSON.stringify(chosen, null, 2));
  else await screen.printAll(show(chosen, screen.style));
  return OK;
}

/** What each can do first, in one table; then the properties of each. */
function show(transports: readonly TransportProperties[], style: Style): string[] {
  const header = ["TRANSPORT", ...CAPABILITIES.map((name) => CAPABILITY[name].toUpperCase())];
  const rows = transports.map(({ name, capabilities }) => [
    name,
    ...CAPABILITIES.map((each) => (capabilities[each].has ? "yes" : "no")),
  ]);
  const cards = transports.flatMap((transport) => ["", ...card(transport, style)]);
  return transports.length === 1 ? cards.slice(1) : [...table(header, rows, style), ...cards];
}

function card(transport: TransportProperties, style: Style): string[] {
  const { name, summary, capabilities } = transport;
  return [
    `${style.bold(name)}  ${summary}`,
    ...PROPERTIES.flatMap((each) => labelled(PROPERTY[each], transport[each], style, 18)),
    ...CAPABILITIES.flatMap((each) => {
      const support = capabilities[each];
      return labelled(CAPABILITY[each], support.has ? support.how : `no: ${support.why}`, style, 18);
    }),
  ];
}

const PROPERTY: Readonly<Record<Property, string>> = {
  dataFormat: "data format",
  transferMode: "transfer mode",
  addressing: "addressing",
  directionality: "directionality",
  state: "state",
  routing: "routing",
  flowAndCongestion: "flow, congestion",
  errorManagement: "errors",
  ridesOn: "rides on",
};

const CAPABILITY: Readonly<Record<Capability, string>> = {
  unary: "unary",
  serverStream: "stream out",
  clientStream: "stream in",
  bidi: "both",
  subscribe: "topics",
  resume: "resume",
};
