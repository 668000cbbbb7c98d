/** The properties of the transport in memory: a call of the peer in the same process. */
import type { TransportProperties } from "../../contract/transport.ts";

export const properties: readonly TransportProperties[] = [
  {
    name: "memory",
    summary: "in the same process, without a wire",
    dataFormat: "values as they are; events as JSON text, as the log keeps them",
    transferMode: "a function call; events are pulled in pages",
    addressing: "the peer itself, then service/method, calls/ID or topics/NAME",
    directionality: "both ways at once",
    state: "that of the process; recorded calls are in the store",
    routing: "none",
    flowAndCongestion: "the reader pulls: nothing is read from the log before it asks",
    errorManagement: "the fault itself is thrown; nothing can be lost on the way",
    ridesOn: "nothing: the same process",
    capabilities: {
      unary: { has: true, how: "the result, synchronously where the handler is" },
      serverStream: { has: true, how: "read" },
      clientStream: { has: true, how: "append" },
      bidi: { has: true, how: "append while read goes on" },
      subscribe: { has: true, how: "read topics/NAME and follow" },
      resume: { has: true, how: "read from a cursor" },
    },
  },
];
