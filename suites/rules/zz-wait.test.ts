import { test } from "bun:test";
test("wait", async () => { const t = performance.now(); while (performance.now() - t < 70000) await new Promise(r => setTimeout(r, 100)); }, 90000);
