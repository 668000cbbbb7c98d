/** A program for tests: makes a network with a program on it, says who is who, and waits to be killed. */
import { wire } from "./index.ts";

const mark = process.argv[2]!;
const net = await wire({ hosts: { client: {} } });
Bun.spawn(net.hosts["client"]!.command(["sh", "-c", `sh -c 'sleep 600; echo ${mark}' & sleep 600; echo ${mark}`]), {
  stdout: "ignore",
});
console.log(JSON.stringify({ daemon: net.pid, holder: net.hosts["client"]!.holder }));
await new Promise(() => {});
