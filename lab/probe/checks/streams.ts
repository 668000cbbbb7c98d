/** Ways of push: WebSocket (RFC 6455) and server-sent events. */
import { createHash, randomBytes } from "node:crypto";
import { SseDecoder } from "../../../src/wire/sse.ts";
import { absent, type Finding, found } from "../finding.ts";
import { type Answer, type Fields, field, Http1 } from "../http1.ts";
import { Absent, type Reason, reasonOf, reasonText } from "../reason.ts";
import type { Setting } from "../setting.ts";

/** At the path that was given, then at /ws. */
export async function websocket(setting: Setting, isTls: boolean, subprotocols: readonly string[]): Promise<Finding> {
  const paths = [...new Set([setting.target.path, "/ws"])];
  const tried: { readonly path: string; readonly reason: Reason }[] = [];
  for (const path of paths) {
    try {
      return await opens(setting, isTls, path, subprotocols);
    } catch (thrown) {
      tried.push({ path, reason: reasonOf(thrown) });
    }
  }
  // The one that says more than that there is nothing.
  const best = tried.find(({ reason }) => reason.detail !== "404") ?? tried[0]!;
  const others = tried.filter((each) => each !== best);
  const where = others.map(({ path, reason }) => {
    const text = reasonText(reason);
    return text === reasonText(best.reason) ? ` and ${path}` : `; ${path}: ${text}`;
  });
  return absent("websocket", best.reason, `at ${best.path}${where.join("")}`, { facts: { paths } });
}

/** @throws Absent */
async function opens(
  setting: Setting,
  isTls: boolean,
  path: string,
  subprotocols: readonly string[],
): Promise<Finding> {
  let answer = await handshake(setting, isTls, path, subprotocols);
  let asked = subprotocols;
  // A server that is strict about names that it does not know.
  if (answer.status === 400 && subprotocols.length > 0) {
    asked = [];
    const plain = await handshake(setting, isTls, path, asked);
    if (plain.status === 101) answer = plain;
  }
  if (answer.status !== 101) throw new Absent("http_status", answer.status);
  if (!answer.isRight) throw new Absent("malformed", "Sec-WebSocket-Accept does not fit the key");
  const chosen = field(answer, "sec-websocket-protocol");
  const which = chosen ? `subprotocol ${chosen}` : asked.length > 0 ? "no subprotocol chosen" : "without a subprotocol";
  const extensions = field(answer, "sec-websocket-extensions");
  return found("websocket", `at ${path}, ${which}`, {
    facts: { path, subprotocol: chosen ?? null, offered: asked, extensions },
    phases: answer.phases,
  });
}

/** RFC 6455 §1.3 */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

async function handshake(setting: Setting, isTls: boolean, path: string, subprotocols: readonly string[]) {
  const key = randomBytes(16).toString("base64");
  const http = await Http1.open(setting, isTls);
  try {
    const fields: Fields = [
      ["connection", "Upgrade"],
      ["upgrade", "websocket"],
      ["sec-websocket-version", "13"],
      ["sec-websocket-key", key],
      ...(subprotocols.length === 0 ? [] : ([["sec-websocket-protocol", subprotocols.join(", ")]] as const)),
    ];
    const answer = await http.ask({ path, fields, isHeadOnly: true, what: "websocket" });
    const accept = createHash("sha1")
      .update(key + GUID)
      .digest("base64");
    if (answer.status === 101) await farewell(http);
    return { ...answer, isRight: field(answer, "sec-websocket-accept") === accept };
  } finally {
    http.close();
  }
}

/** RFC 6455 §5.5.1: Close with 1000, masked; the answer to it ends the connection properly. */
async function farewell(http: Http1): Promise<void> {
  const mask = randomBytes(4);
  const code = [0x03 ^ mask[0]!, 0xe8 ^ mask[1]!];
  http.pipe.send(Buffer.from([0x88, 0x82, ...mask, ...code]));
  const most = Math.min(http.line.deadline, performance.now() + 250);
  await http.pipe.more(most).catch(() => undefined);
}

const SSE = "text/event-stream";
/** How long a first event is waited for; a quiet stream is one too. */
const EVENT_MS = 500;

export async function sse(setting: Setting, isTls: boolean, path = setting.target.path): Promise<Finding> {
  let http: Http1 | undefined;
  try {
    http = await Http1.open(setting, isTls);
    const answer: Answer = await http.ask({ path, fields: [["accept", SSE]], isHeadOnly: true, what: "sse" });
    const type = field(answer, "content-type")?.split(";")[0]?.trim().toLowerCase();
    if (answer.status !== 200) return absent("sse", { code: "http_status", detail: String(answer.status) });
    if (type !== SSE) return absent("sse", { code: "not_offered" }, `asked for ${SSE}, got ${type ?? "no type"}`);
    const seen = await firstEvent(http);
    return found("sse", `${path}: ${seen}`, { phases: answer.phases });
  } catch (thrown) {
    return absent("sse", reasonOf(thrown));
  } finally {
    http?.close();
  }
}

async function firstEvent({ pipe, line }: Http1): Promise<string> {
  const decoder = new SseDecoder({ maxChars: 1024 * 1024 });
  const until = Math.min(line.deadline, performance.now() + EVENT_MS);
  for (;;) {
    // Sizes of chunks between the lines are fields that nobody knows, which readers pass over.
    const outputs = decoder.feed(pipe.take(pipe.buffer.length));
    const first = outputs.find(({ type }) => type === "event");
    if (first) return "an event came";
    if (outputs.some(({ type }) => type === "comment")) return "a comment came";
    const isMore = await pipe.more(until).catch(() => false);
    if (!isMore) return "a quiet stream so far";
  }
}
