import { runTransportSuite } from "../../../suites/transport/suite.ts";
import { tcpLink } from "./testing.ts";

runTransportSuite("tcp", () => tcpLink("tcp"));
// The smallest window: each event waits for credit of its own.
runTransportSuite("tcp, a window of one", () => tcpLink("tcp", { window: 1 }));
runTransportSuite("tls", () => tcpLink("tls"));
runTransportSuite("unix", () => tcpLink("unix"));
