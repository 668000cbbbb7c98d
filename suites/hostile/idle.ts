/** `bun idle.ts PORT COUNT`: connections that say nothing, or half of something. Prints how many are open. */
import { connect, type Socket } from "node:net";
import { post } from "./raw.ts";

const [port, count] = process.argv.slice(2).map(Number) as [number, number];
// Nothing at all, half a request line, half a header, a body that never comes.
const halves = ["", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-", post("/t/echo", "12345").slice(0, -3)];
const sockets = new Set<Socket>();
let failed = 0;

for (let n = 0; n < count && failed < 100; n += 100)
  await Promise.all(Array.from({ length: 100 }, (_, i) => open(n + i)));
process.stdout.write(`${sockets.size}\n`);
for await (const _ of process.stdin);
process.exit(0);

function open(n: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      sockets.add(socket);
      const half = halves[n % halves.length]!;
      if (half !== "") socket.write(half);
      resolve();
    });
    socket.on("error", () => {
      failed++;
      resolve();
    });
    socket.on("close", () => sockets.delete(socket));
  });
}
