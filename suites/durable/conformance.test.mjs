/** Durable Streams' own suite, run by vitest against the server at CONFORMANCE_TEST_URL; see conformance.test.ts. */
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.CONFORMANCE_TEST_URL });
