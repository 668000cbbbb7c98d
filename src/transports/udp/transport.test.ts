import { cases, runTransportSuite } from "../../../suites/transport/suite.ts";
import type { Capability } from "../../contract/transport.ts";
import { properties } from "./properties.ts";
import { udpLink } from "./testing.ts";

/** What a case needs, by the beginning of its name. */
const NEEDS: Readonly<Record<string, Capability>> = {
  "stream:": "serverStream",
  "detach:": "serverStream",
  "cancel:": "serverStream",
  "client stream:": "clientStream",
  "bidi:": "bidi",
  "verdict:": "resume",
  "long log:": "resume",
  "slow reader:": "serverStream",
  "order:": "resume",
  "topic:": "subscribe",
  "quiet:": "serverStream",
  "abort:": "serverStream",
  "drain: readers": "serverStream",
  "restart: everybody": "resume",
  "limit: bytes of the log": "serverStream",
  "limit: bytes of an item": "clientStream",
};

const { capabilities } = properties[0]!;
const absent = cases.flatMap(({ name }): [string, string][] => {
  const needs = Object.entries(NEEDS).find(([prefix]) => name.startsWith(prefix))?.[1];
  const support = needs && capabilities[needs];
  return support?.has === false ? [[name, support.why]] : [];
});
const LARGE = "it does not fit into a datagram; server.test.ts has the same with what fits";
const STREAMS = "it asks streams and topics too; server.test.ts asks the rest of it";

runTransportSuite("udp", () => udpLink(), {
  skip: {
    ...Object.fromEntries(absent),
    "unary: a large input and result": LARGE,
    "limit: bytes of an input": LARGE,
    "limit: bytes that one caller has stored": LARGE,
    "fault: an unknown method, call or topic is not_found": STREAMS,
    "handle: a kept call has an id, a state, and is found by another client": STREAMS,
    "owner: the call of another principal is not found, whatever is asked of it": STREAMS,
    "auth: a bad token is unauthenticated everywhere": STREAMS,
    "authorize: is asked for each thing, and a no is permission_denied": STREAMS,
    "limit: characters of a key": STREAMS,
  },
});
