/** The wrong port, for every way: what is there instead is told with a hint, and nobody waits for ever. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { ANONYMOUS } from "../src/contract/index.ts";
import { Fault } from "../src/log/index.ts";
import { makeCertificate } from "../src/net/certificate.ts";
import { peerOf, type Via } from "./connect.ts";
import { explain, hintsOf, UsageError } from "./exit.ts";
import { Place } from "./testing.ts";

const place = new Place();
const servers: Server[] = [];
const ports: Record<string, number> = {};

/** What listens where a Backtalk server was looked for. */
const THERE: Readonly<Record<string, () => Server>> = {
  "HTTP/1.1": () => createHttp((_, response) => response.writeHead(404).end("not found")),
  TLS: () => createHttps(makeCertificate(["localhost", "127.0.0.1"], Date.now()), (_, response) => response.end()),
  "SSH's banner": () => createServer((socket) => quiet(socket).write("SSH-2.0-OpenSSH_9.2\r\n".repeat(4))),
  "an end": () => createServer((socket) => quiet(socket).end()),
  silence: () => createServer((socket) => void quiet(socket).resume()),
  // Its port is closed again before anybody comes.
  nobody: () => createServer(),
};

beforeAll(async () => {
  for (const [name, make] of Object.entries(THERE)) {
    const server = make();
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    ports[name] = (server.address() as AddressInfo).port;
    if (name === "nobody") await new Promise((resolve) => server.close(resolve));
  }
  const server = createServer((socket) => void quiet(socket).resume());
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(socketAt("silence"), resolve));
});

afterAll(() => {
  for (const server of servers) server.close();
  place.remove();
});

function quiet<S extends { on(event: "error", heard: () => void): unknown }>(socket: S): S {
  socket.on("error", () => {});
  return socket;
}

const socketAt = (name: string) => join(place.directory, `${name}.sock`);

/** Code, message and hint of one try. */
async function tried(way: string, there: string): Promise<string> {
  const [scheme, via = VIA[scheme!]] = way.split(" by ");
  const url = scheme === "unix" ? `unix:${socketAt(there)}` : `${scheme}://127.0.0.1:${ports[there]}`;
  let close = () => {};
  try {
    const made = peerOf(url, { via: via as Via, trust: { tls: () => undefined, notes: [] } });
    close = made.close;
    const call = { to: "studio/isPrime", input: { n: 7 }, principal: ANONYMOUS, via: "test" };
    // As `backtalk call` does it: first its id, then the rest. Over UDP there is only the result.
    const exchange = await made.peer({ ...call, ...(via !== "udp" && { keep: true }) });
    await exchange.result();
    return "no fault";
  } catch (thrown) {
    if (thrown instanceof UsageError) return `usage: ${thrown.message}: ${thrown.hint}`;
    if (!(thrown instanceof Fault)) throw thrown;
    return `${thrown.code}: ${thrown.message}: ${hintsOf(thrown)[0] ?? "no hint"}`;
  } finally {
    close();
  }
}

const VIA: Readonly<Record<string, string>> = {
  http: "http1",
  https: "http1",
  grpc: "grpc",
  grpcs: "grpc",
  tcp: "tcp",
  tls: "tcp",
  unix: "unix",
  udp: "udp",
};

const NOBODY = /^unavailable: .*nobody listens.*is the server running\?$/s;
const REFUSED = /^unavailable: the connection to the server failed: is the address right .*is the server running\?$/s;
const NO_SOCKET = /^unavailable: the socket did not open.*: is the address right/s;
const ENDED = /^unavailable: .*closed before .*: (is the port right|does the port speak TLS\?)/s;
const OTHER =
  /^failed_precondition: .*(something else is spoken|does not speak backtalk\.v1).*: (is the port right|the port of TCP)/s;
const NO_TLS = /no TLS.*is it a port without TLS\?/s;
const NOT_TRUSTED = /certificate.*give the certificate that is to be trusted/s;
const NOT_OURS = /^(unimplemented|not_found): .*404.*: is this the address of a Backtalk server\?$/s;
const SILENT =
  /^unavailable: .*(nothing came for|says nothing|connection to the server failed).*: is the (port|address) right/s;

const TABLE: readonly (readonly [way: string, Readonly<Record<string, RegExp>>])[] = [
  ["grpc", { "HTTP/1.1": OTHER, TLS: ENDED, "SSH's banner": OTHER, "an end": ENDED, nobody: NOBODY }],
  ["grpcs", { "HTTP/1.1": NO_TLS, TLS: NOT_TRUSTED, "SSH's banner": NO_TLS, "an end": ENDED, nobody: NOBODY }],
  [
    "tcp",
    { "HTTP/1.1": OTHER, TLS: /speaks TLS: use tls:\/\//, "SSH's banner": OTHER, "an end": ENDED, nobody: NOBODY },
  ],
  ["tls", { "HTTP/1.1": NO_TLS, TLS: NOT_TRUSTED, "SSH's banner": NO_TLS, "an end": ENDED, nobody: NOBODY }],
  ["unix", { nobody: /^unavailable: .*there is no such socket: is the path right/ }],
  ["udp", { nobody: NOBODY }],
  ["http", { "HTTP/1.1": NOT_OURS, TLS: REFUSED, "SSH's banner": /something else is spoken there/, nobody: REFUSED }],
  ["https", { "HTTP/1.1": NO_TLS, TLS: NOT_TRUSTED, "SSH's banner": NO_TLS, "an end": REFUSED, nobody: REFUSED }],
  ["https by http2", { "HTTP/1.1": NO_TLS, TLS: NOT_TRUSTED, nobody: REFUSED }],
  ["http by http2", { "HTTP/1.1": /^usage: http2 goes over TLS/ }],
  ["http by http3", { "HTTP/1.1": /^usage: http3 goes over TLS/ }],
  ["http by sse", { "HTTP/1.1": NOT_OURS, nobody: REFUSED }],
  ["http by websocket", { "HTTP/1.1": NO_SOCKET, TLS: NO_SOCKET, "an end": NO_SOCKET, nobody: NO_SOCKET }],
  ["https by websocket", { "HTTP/1.1": NO_SOCKET, nobody: NO_SOCKET }],
  ["http by grpc-web", { "HTTP/1.1": NOT_OURS, TLS: ENDED, "SSH's banner": OTHER, "an end": ENDED, nobody: NOBODY }],
  ["https by connect", { "HTTP/1.1": NO_TLS, TLS: NOT_TRUSTED, nobody: NOBODY }],
  ["http by connect", { "HTTP/1.1": NOT_OURS, TLS: ENDED, "SSH's banner": OTHER, "an end": ENDED, nobody: NOBODY }],
  ["http by grpc", { "HTTP/1.1": OTHER, nobody: NOBODY }],
  ["tcp by grpc", { nobody: /^usage: grpc is not spoken at tcp:/ }],
];

describe.each(TABLE)("%s", (way, cases) => {
  for (const [there, expected] of Object.entries(cases)) {
    test(`where ${there} is`, async () => {
      expect(await tried(way, there)).toMatch(expected);
    }, 20_000);
  }
});

test("what is wrong with a certificate is told, over each way with TLS", async () => {
  const day = 86_400_000;
  const expired = makeCertificate(["localhost", "127.0.0.1"], Date.now() - 4000 * day);
  const other = makeCertificate(["other.test"], Date.now());
  for (const [certificate, said, here] of [
    [expired, /certificate has expired/, false],
    [other, /certificate is for another name/, false],
  ] as const) {
    const server = createHttps(certificate, (_, response) => response.end());
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const trust = { tls: () => ({ ca: certificate.cert }), notes: [] };
    for (const [scheme, via] of [
      ["https", "http1"],
      ["https", "http2"],
      ["tls", "tcp"],
      ["grpcs", "grpc"],
      ["https", "connect"],
    ] as const) {
      const { peer, close } = peerOf(`${scheme}://127.0.0.1:${port}`, { via, trust });
      const call = { to: "studio/isPrime", input: { n: 7 }, principal: ANONYMOUS, via: "test", keep: true };
      const { lines } = explain(
        await Promise.resolve(peer(call))
          .then((exchange) => exchange.result())
          .catch((thrown) => thrown),
      );
      expect([via, lines.join("\n")]).toEqual([via, expect.stringMatching(said)]);
      expect([via, lines.join("\n").includes("--cacert")]).toEqual([via, here]);
      close();
    }
  }
}, 20_000);

// HTTP waits for 60 s (`answerMs`): that is in its own tests.
test("where somebody accepts and says nothing, each way ends by itself", async () => {
  const ways = ["grpc", "grpcs", "tcp", "tls", "unix", "http by websocket", "http by connect", "http by grpc-web"];
  const said = await Promise.all(ways.map((way) => tried(way, "silence")));
  for (const each of said) expect(each).toMatch(SILENT);
}, 60_000);
