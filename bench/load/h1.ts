/** Load over HTTP/1.1 on raw sockets: one request at a time on each connection. Stands in for wrk. */
import type { Socket } from "bun";
import { quantile } from "../lib/stats.ts";

const { url, body, connections, seconds, keys } = JSON.parse(process.argv[2]!) as {
  url: string;
  body: string;
  connections: number;
  seconds: number;
  keys?: string;
};
const { hostname, port, pathname, host } = new URL(url);
const head = `POST ${pathname} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
let requests = 0;
let failed = 0;
let sent = 0;
let isOver = false;
const times: number[] = [];

interface State {
  at: number;
  rest: string;
}

function send(socket: Socket<State>): void {
  socket.data.at = performance.now();
  const key = keys === undefined ? "" : `Idempotency-Key: ${keys}-${++sent}\r\n`;
  socket.write(`${head}${key}\r\n${body}`);
}

function received(socket: Socket<State>, bytes: Buffer): void {
  const text = socket.data.rest + bytes.toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  const length = end < 0 ? undefined : /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
  if (length === undefined || text.length < end + 4 + Number(length)) {
    socket.data.rest = text;
    return;
  }
  socket.data.rest = "";
  if (isOver) return;
  if (text.startsWith("HTTP/1.1 2")) requests++;
  else failed++;
  if (times.length < 1_000_000) times.push(performance.now() - socket.data.at);
  send(socket);
}

const sockets = await Promise.all(
  Array.from({ length: connections }, () =>
    Bun.connect<State>({
      hostname,
      port: Number(port),
      data: { at: 0, rest: "" },
      socket: {
        data: received,
        close() {
          if (!isOver) failed++;
        },
      },
    }),
  ),
);
const began = performance.now();
for (const socket of sockets) send(socket);
await Bun.sleep(seconds * 1000);
isOver = true;
const perSecond = (requests / (performance.now() - began)) * 1000;
console.log(JSON.stringify({ requests, perSecond, failed, p50: quantile(times, 0.5), p99: quantile(times, 0.99) }));
process.exit();
