import { memoryLink } from "../../../suites/transport/links.ts";
import { runTransportSuite } from "../../../suites/transport/suite.ts";

runTransportSuite("memory", memoryLink);
