import { type Connection, connectionsOf } from "../../capture/segments.ts";
import type { Experiment, Finding } from "../../experiment.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { scratch } from "../../wire/scratch.ts";
import type { Told } from "./client.ts";

const PORTS = { tcp: 7_001, web: 7_002, backtalk: 7_003 } as const;
const SERVER = new URL("./server.ts", import.meta.url);

/** Who should lose something, and why. */
const EXPECTED: Readonly<Record<string, { readonly loses: boolean; readonly port: number; readonly explain: string }>> =
  {
    "raw TCP session": {
      loses: true,
      port: PORTS.tcp,
      explain:
        "The connection is the session. The kernel of the server ends it when the process dies, and what the process knew is gone: a client can only begin anew, and must tell the server again who it is and where it was.",
    },
    "plain HTTP, a request in flight": {
      loses: true,
      port: PORTS.web,
      explain:
        "Each request stands for itself, so the next one works. The one in flight has no answer, and nobody knows whether it was done: only a safe or idempotent request may be sent again without thinking (RFC 9110 §9.2.2).",
    },
    "login kept in memory": {
      loses: true,
      port: PORTS.web,
      explain: "A stateful server: what the process remembers dies with it, and every user signs in again.",
    },
    "login by a signed token": {
      loses: false,
      port: PORTS.web,
      explain: "The client carries the state, and the server only checks the signature: any process can (RFC 7519).",
    },
    "login kept in a store": {
      loses: false,
      port: PORTS.web,
      explain: "The process is stateless because the state is elsewhere: the store has survived, so the login has.",
    },
    "Backtalk call": {
      loses: false,
      port: PORTS.backtalk,
      explain:
        "Every call is a log in the store. The restarted server goes on with the call, and the client reads on from its last cursor: each item once, in order.",
    },
  };

export const restart: Experiment = {
  name: "restart",
  title: "kill -9 of a server, and a new one 500 ms later",
  question: "Who notices that a server was restarted, and who loses what?",
  defaults: { rttMs: 20, runs: 1 },
  // Its processes compare times by the clock of Linux.
  overLoopback: { columns: ["noticed", "saw", "lost"], platform: "linux" },
  async run({ network, progress }) {
    const net = await network!();
    using folder = scratch("restart");
    const directory = folder.path;
    try {
      const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
      const now = monotonic(openLibc());
      const start = async () => {
        const program = await server.start(SERVER);
        await program.call("serve", server.address, directory, "secret of this run");
        return program;
      };
      const first = await start();
      const clients = await client.start(new URL("./client.ts", import.meta.url));
      await net.capture();
      progress("clients begin");
      await clients.call("begin", server.address, PORTS);
      progress("the server is killed");
      const killedAt = now();
      await first.kill();
      await Bun.sleep(500);
      await start();
      const upAt = now();
      progress("clients go on");
      const told = await clients.call<Record<string, Told>>("after");
      const seen = await net.capture();
      const connections = connectionsOf(seen);
      const findings = Object.entries(EXPECTED).map(([name, { loses, port, explain }]): Finding => {
        const client = told[name]!;
        const after = (client.noticedAt ?? Number.NaN) - killedAt;
        return {
          name,
          values: {
            noticed: client.noticedAt === undefined ? "never" : `${(after / 1e6).toFixed(0)} ms`,
            saw: client.saw,
            lost: client.lost,
          },
          expected: loses ? "loses" : "loses nothing",
          verdict: client.isLost === loses ? "ok" : "failed",
          why: wireOf(connections, port, killedAt),
          explain,
          capture: "restart",
          counted: {
            verdict: client.isLost === loses ? "ok" : "failed",
            why: `by what the client has afterwards: ${client.isLost ? "not all" : "all"} that it had before`,
          },
        };
      });
      return {
        columns: [
          { key: "noticed", title: "noticed after", unit: "text", what: "the program, from the kill" },
          { key: "saw", title: "saw", unit: "text" },
          { key: "lost", title: "lost", unit: "text" },
        ],
        findings,
        check: net.check,
        captures: [
          {
            name: "restart",
            hosts: [client, server],
            seen,
            marks: [
              { at: killedAt, host: "server", text: "kill -9" },
              { at: upAt, host: "server", text: "up again" },
            ],
          },
        ],
        notes: [`The new server took calls ${((upAt - killedAt) / 1e6).toFixed(0)} ms after the kill.`],
      };
    } finally {
      await net.stop();
    }
  },
};

/** How the connections to a port ended, and how many were opened after the kill. */
function wireOf(connections: readonly Connection[], port: number, killedAt: number): string {
  const mine = connections.filter(({ other }) => other.endsWith(`:${port}`));
  const opened = (after: boolean) => mine.filter(({ segments }) => segments[0]!.seen.at > killedAt === after);
  const ends = opened(false).map(({ segments }) => {
    const end = segments.find(
      ({ isOpener, tcp, seen }) => !isOpener && seen.at > killedAt && (tcp.flags.fin || tcp.flags.rst),
    );
    return end
      ? `${end.tcp.flags.rst ? "RST" : "FIN"} after ${((end.seen.at - killedAt) / 1e6).toFixed(0)} ms`
      : "no word of its end";
  });
  const again = opened(true).length;
  return `${mine.length - again} ${mine.length - again === 1 ? "connection" : "connections"} before (${[...new Set(ends)].join(", ") || "none open"}), ${again} after`;
}
