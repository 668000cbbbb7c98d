/** `npm run soak -- --minutes N --seed N`: kills servers for a long time, with one seed after the other. */
import { parseArgs } from "node:util";
import { runCrash } from "./run.ts";

const { values } = parseArgs({
  options: { minutes: { type: "string" }, seed: { type: "string" }, calls: { type: "string" } },
});
const minutes = Number(values.minutes ?? 10);
let seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
const until = performance.now() + minutes * 60_000;
const total = { kills: 0, calls: 0, events: 0 };
while (performance.now() < until) {
  const seconds = Math.min(60, Math.max(5, (until - performance.now()) / 1000));
  console.log(`seed ${seed}: ${Math.round(seconds)} s`);
  const report = await runCrash({ seed, seconds, calls: Number(values.calls ?? 150), lifeMs: [100, 4_000] });
  const { kills, calls, breaks, events, published } = report;
  console.log(
    `  ${kills} kills, ${calls} calls, ${breaks} breaks, ${events} events, ${published} published: all there`,
  );
  total.kills += kills;
  total.calls += calls;
  total.events += events;
  seed++;
}
console.log(`${total.kills} kills, ${total.calls} calls, ${total.events} events: none lost, doubled or out of order`);
process.exit(0);
