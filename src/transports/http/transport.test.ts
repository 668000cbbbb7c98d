import { httpLink } from "../../../suites/transport/links.ts";
import { runTransportSuite } from "../../../suites/transport/suite.ts";

for (const mode of ["sse", "ndjson", "long-poll", "poll"] as const) {
  runTransportSuite(`http1.1, ${mode}`, () => httpLink({ protocol: "http1.1", mode }));
}
for (const protocol of ["http2", "http3"] as const) {
  for (const mode of ["sse", "long-poll"] as const) {
    runTransportSuite(`${protocol}, ${mode}`, () => httpLink({ protocol, mode }), {
      skip:
        protocol === "http2" && mode === "sse"
          ? {
              "slow reader: the server reads no further than the reader takes":
                "Bun's fetch takes a body over HTTP/2 without waiting for its reader; suites/transport/failures.test.ts asks node:http2",
            }
          : {},
    });
  }
}
