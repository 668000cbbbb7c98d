/** What captures say about WebSocket, HTTP/2 and HTTP/3. */
import { createHash } from "node:crypto";
import type { HeaderField } from "../../../src/wire/packet/hpack.ts";
import { content, isPreface } from "../../../src/wire/packet/http2.ts";
import { isBidirectional, readHttp3 } from "../../../src/wire/packet/http3.ts";
import { readQpack } from "../../../src/wire/packet/qpack.ts";
import { readWebSocket, unmasked } from "../../../src/wire/packet/websocket.ts";
import { http2Frames } from "../../capture/parts.ts";
import { requestFrames } from "../../capture/quic-flow.ts";
import type { Judgement, Told } from "./told.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
/** RFC 6455 §1.3 */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

export function judgeUpgrade({ conversations }: Told): Judgement {
  const heads = headsOf(conversations[0]?.plain);
  const key = /\r\nsec-websocket-key: *(\S+)/i.exec(heads.request)?.[1];
  const accept = /\r\nsec-websocket-accept: *(\S+)/i.exec(heads.response)?.[1];
  if (key === undefined || accept === undefined) return { isRight: false, why: "no upgrade to WebSocket" };
  const isProven =
    createHash("sha1")
      .update(key + GUID)
      .digest("base64") === accept;
  const isRight = isProven && /^GET /.test(heads.request) && /^HTTP\/1\.1 101 /.test(heads.response);
  return {
    isRight,
    why: `GET with Upgrade: websocket, ${heads.response.split("\r\n")[0]?.replace("HTTP/1.1 ", "")}; Sec-WebSocket-Accept is ${isProven ? "the SHA-1 of the client's key and the GUID of the RFC" : "not of the client's key"}: ${heads.request.length + heads.response.length} bytes once`,
  };
}

export function judgeMasking({ conversations }: Told, message: string): Judgement {
  const plain = conversations[0]?.plain;
  const heads = headsOf(plain);
  if (!plain) return { isRight: false, why: "no connection" };
  const mine = readWebSocket(plain.client, Buffer.byteLength(heads.request));
  const theirs = readWebSocket(plain.server, Buffer.byteLength(heads.response));
  const masks = new Set(mine.map(({ mask }) => mask && Buffer.from(mask).toString("hex")));
  const isRight =
    mine.length > 0 &&
    mine.every(({ mask }) => mask !== undefined) &&
    masks.size === mine.length &&
    theirs.length > 0 &&
    theirs.every(({ mask }) => mask === undefined) &&
    text(unmasked(mine[0]!)) === message;
  return {
    isRight,
    why: `${mine.length} frames of the client, ${mine.filter(({ mask }) => mask).length} masked, each with another mask; ${theirs.length} of the server, ${theirs.filter(({ mask }) => mask).length} masked: ${mine[0]?.headerBytes ?? 0} bytes of header one way, ${theirs[0]?.headerBytes ?? 0} the other`,
  };
}

export function judgeHttp2({ conversations }: Told): Judgement {
  const plain = conversations[0]?.plain;
  if (!plain || !isPreface(plain.client)) return { isRight: false, why: "no HTTP/2 could be read" };
  const client = http2Frames(plain.client).map(({ frame }) => frame);
  const server = http2Frames(plain.server).map(({ frame }) => frame);
  const requests = client.filter(({ name }) => name === "HEADERS").map(({ stream }) => stream);
  const answers = server.filter(({ name }) => name === "HEADERS").map(({ stream }) => stream);
  const isRight =
    client[0]?.name === "SETTINGS" &&
    server[0]?.name === "SETTINGS" &&
    requests.join() === "1,3" &&
    answers.join() === "1,3" &&
    conversations.length === 1;
  const counts = (frames: readonly { name: string }[]) => {
    const names = [...new Set(frames.map(({ name }) => name))];
    return names.map((name) => `${frames.filter((each) => each.name === name).length} ${name}`).join(", ");
  };
  return {
    isRight,
    why: `preface and SETTINGS first; streams ${requests.join(" and ")} on ${conversations.length === 1 ? "one connection" : `${conversations.length} connections`}; client: ${counts(client)}; server: ${counts(server)}; 9 bytes of header each`,
  };
}

export function judgeHpack({ conversations }: Told): Judgement {
  const blocks = http2Frames(conversations[0]?.plain.client ?? new Uint8Array(0)).filter(
    ({ frame }) => frame.name === "HEADERS",
  );
  const [first, second] = blocks.map(({ fields }) => fields);
  if (!first || !second) return { isRight: false, why: "no two blocks could be read" };
  const [a, b] = blocks.map(({ frame }) => content(frame)?.length ?? 0);
  const remembered = second.filter(({ isDynamic, how }) => isDynamic && how === "indexed").length;
  const isSame = JSON.stringify(pairs(first)) === JSON.stringify(pairs(second));
  return {
    isRight: isSame && b! < a! && remembered > 0 && a! < textBytes(first),
    why: `${first.length} fields: ${textBytes(first)} bytes as text, ${a} in the first request, ${b} in the second: ${remembered} of them are one byte each, by the table that both sides keep`,
  };
}

export function judgeHttp3({ quic, conversations }: Told): Judgement {
  const mine = quic.streams("client");
  const requests = mine.filter(isBidirectional);
  const kinds = (side: "client" | "server") =>
    quic
      .streams(side)
      .filter((stream) => !isBidirectional(stream))
      .map((stream) => `${stream} ${readHttp3(stream, quic.streamBytes(side, stream)).kind}`);
  const frames = requests.map((stream) => requestFrames(quic, "client", stream).map(({ name }) => name));
  const all = [...kinds("client"), ...kinds("server")];
  const isRight =
    requests.join() === "0,4" &&
    frames.every((names) => names.join() === "HEADERS,DATA") &&
    kinds("client").some((kind) => kind.endsWith("control")) &&
    kinds("server").some((kind) => kind.endsWith("control")) &&
    conversations.length === 0;
  return {
    isRight,
    why: `requests on streams ${requests.join(" and ")} (${frames[0]?.join(", ") ?? "nothing read"}); one way each: ${all.join(", ")}; frames without number of stream and flags, QUIC has both`,
  };
}

export function judgeQpack({ quic }: Told): Judgement {
  const blocks = [0, 4].map((stream) => requestFrames(quic, "client", stream).find(({ name }) => name === "HEADERS"));
  const [first, second] = blocks.map((frame) => frame && readQpack(frame.payload));
  if (!first || !second) return { isRight: false, why: "no two blocks could be read" };
  const [a, b] = blocks.map((frame) => frame!.length);
  const fixed = first.filter(({ how, isDynamic }) => how === "indexed" && !isDynamic).length;
  const remembered = second.filter(({ isDynamic }) => isDynamic).length;
  const method = first.find(({ name }) => name === ":method")?.value;
  return {
    isRight: method === "POST" && fixed > 0 && a! < textBytes(first),
    why: `${first.length} fields: ${textBytes(first)} bytes as text, ${a} in the first request, ${b} in the second; ${fixed} of them by the static table of 99 entries, ${remembered === 0 ? "none by the dynamic one: no stream waits for another" : `${remembered} of the second by the dynamic one`}`,
  };
}

function headsOf(plain: { client: Uint8Array; server: Uint8Array } | undefined): { request: string; response: string } {
  const head = (bytes: Uint8Array | undefined) => {
    const whole = Buffer.from(bytes ?? []).toString("latin1");
    const end = whole.indexOf("\r\n\r\n");
    return end < 0 ? "" : whole.slice(0, end + 4);
  };
  return { request: head(plain?.client), response: head(plain?.server) };
}

const pairs = (fields: readonly HeaderField[]) => fields.map(({ name, value }) => [name, value]);

/** As HTTP/1.1 would have them: `name: value` and the end of the line. */
function textBytes(fields: readonly HeaderField[]): number {
  return fields.reduce((sum, { name, value }) => sum + name.length + value.length + 4, 0);
}
