import { expect, test } from "bun:test";
import { faultOf, item } from "../../../suites/store/case.ts";
import { runStoreSuite } from "../../../suites/store/suite.ts";
import { memoryStore } from "./store.ts";

runStoreSuite("memory store", async () => memoryStore());

test("maxBytes: refuses what does not fit, and goes on when there is room", async () => {
  const store = memoryStore({ maxBytes: 10 });
  const first = await store.append("a", [item("12345678")], { create: {} });
  const fault = await faultOf(store.append("b", [item(1)], { create: {} }), "resource_exhausted");
  expect(fault.limit).toBe("maxBytes");
  await store.trim("a", first.cursor);
  expect((await store.append("b", [item(1)], { create: {} })).outcome).toBe("appended");
});
