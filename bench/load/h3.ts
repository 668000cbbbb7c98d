/** Load over HTTP/3 with the `fetch` of Bun: `connections` requests at once. */
import { quantile } from "../lib/stats.ts";

const { url, body, connections, seconds } = JSON.parse(process.argv[2]!) as {
  url: string;
  body: string;
  connections: number;
  seconds: number;
};
const init = {
  method: "POST",
  body,
  headers: { "content-type": "application/json" },
  protocol: "http3",
  tls: { rejectUnauthorized: false },
} as BunFetchRequestInit;
let requests = 0;
let failed = 0;
const times: number[] = [];
const began = performance.now();
const until = began + seconds * 1000;

async function loop(): Promise<void> {
  for (let at = began; at < until; ) {
    const response = await fetch(url, init);
    await response.arrayBuffer();
    if (response.ok) requests++;
    else failed++;
    const now = performance.now();
    times.push(now - at);
    at = now;
  }
}

await Promise.all(Array.from({ length: connections }, loop));
const perSecond = (requests / (performance.now() - began)) * 1000;
console.log(JSON.stringify({ requests, perSecond, failed, p50: quantile(times, 0.5), p99: quantile(times, 0.99) }));
process.exit();
