/** As much of HTTP/1.1 (RFC 9112) as a probe needs: well-formed requests, and answers read strictly. */
import { Line, type LineOptions, looksLike, phasesOf } from "./line.ts";
import { Pipe } from "./pipe.ts";
import { Absent, reasonOf } from "./reason.ts";
import { ms, type Setting } from "./setting.ts";

export type Fields = readonly (readonly [string, string])[];

export interface Ask {
  readonly method?: "GET" | "POST";
  readonly path?: string;
  readonly fields?: Fields;
  readonly body?: string | Uint8Array;
  /** The head is all that is wanted: an upgrade, or a stream without an end. */
  readonly isHeadOnly?: boolean;
  /** What the request was for, in the HAR. */
  readonly what: string;
}

export interface Answer {
  readonly status: number;
  readonly fields: Fields;
  /** At most `MOST_BYTES`. */
  readonly body: Uint8Array;
  /** There was more, or it did not end in time. */
  readonly isCut: boolean;
  /** The connection may be used again. */
  readonly isKept: boolean;
  readonly phases: ReturnType<typeof phasesOf>;
}

/** Of a body; a probe looks at no more. */
export const MOST_BYTES = 1024 * 1024;
const MOST_HEAD_BYTES = 64 * 1024;
/** Informational answers before the one that counts (RFC 9110 §15.2). */
const MOST_INTERIM = 16;
/** A stream that has no end by its nature. */
export const EVENT_STREAM = /^text\/event-stream\b/i;

export const USER_AGENT = "backtalk-probe/1";

export function field({ fields }: { readonly fields: Fields }, name: string): string | undefined {
  const all = fields.filter(([each]) => each === name).map(([, value]) => value);
  return all.length === 0 ? undefined : all.join(", ");
}

/** The options of a line for HTTP/1.1 to the target. */
export function lineOf({ target }: Setting, isTls: boolean): LineOptions {
  // RFC 7301: where there is ALPN, its name is said.
  return isTls && target ? { tls: { ALPNProtocols: ["http/1.1"] } } : {};
}

/** Requests on one connection, one after another. */
export class Http1 {
  readonly line: Line;
  readonly pipe: Pipe;

  constructor(line: Line) {
    this.line = line;
    this.pipe = new Pipe(line);
  }

  /** @throws Absent */
  static async open(setting: Setting, isTls: boolean, options: LineOptions = {}): Promise<Http1> {
    const line = await Line.open(setting, { ...lineOf(setting, isTls), ...options });
    const alpn = line.tls?.alpnProtocol;
    if (typeof alpn === "string" && alpn !== "" && alpn !== "http/1.1") {
      line.close();
      throw new Absent("alpn_other", alpn);
    }
    return new Http1(line);
  }

  /** @throws Absent */
  async ask(ask: Ask): Promise<Answer> {
    const { line, pipe } = this;
    const { setting } = line;
    const { target, meter } = setting;
    const { method = "GET", path = target.path, what } = ask;
    const fields: Fields = [
      ["host", target.authority],
      ["user-agent", USER_AGENT],
      ["accept", "*/*"],
      ...(ask.body === undefined ? [] : ([["content-length", String(Buffer.byteLength(ask.body))]] as const)),
      ...(ask.fields ?? []),
    ].filter(([name], at, all) => at === all.findLastIndex(([each]) => each === name)) as Fields;
    const head = `${method} ${path} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
    const isFresh = line.take();
    const [startedAt, sentAt] = [isFresh ? line.begunDate : Date.now(), performance.now()];
    pipe.send(Buffer.concat([Buffer.from(head), Buffer.from(ask.body ?? "")]));
    let firstByteAt: number | undefined;
    const first = (): void => {
      firstByteAt ??= pipe.lastAt;
    };
    const { status, statusText, answer, version } = await this.#head(first);
    const rest = ask.isHeadOnly || status === 101 ? NOTHING : await this.#body(status, answer);
    const endAt = performance.now();
    const phases = phasesOf(line, isFresh, firstByteAt ?? endAt, endAt, sentAt);
    const scheme = line.tls ? "https" : "http";
    meter.requests.push({
      version: `HTTP/${version}`,
      method,
      url: `${scheme}://${target.authority}${path}`,
      address: setting.address.host,
      requestFields: fields,
      requestBytes: Buffer.byteLength(ask.body ?? ""),
      status,
      statusText,
      fields: answer,
      bodyBytes: rest.body.length,
      startedAt,
      phases,
      pretransfer: isFresh ? ms(setting.namelookupMs + sentAt - line.begunAt) : 0,
      isReused: !isFresh,
      what,
    });
    const says = field({ fields: answer }, "connection")?.toLowerCase() ?? "";
    const isKept =
      rest.isFramed && !pipe.hasEnded && (version === "1.1" ? !says.includes("close") : says.includes("keep-alive"));
    return { status, fields: answer, body: rest.body, isCut: rest.isCut, isKept, phases };
  }

  close(): void {
    this.line.close();
  }

  /** Skips interim answers (RFC 9110 §15.2), but for the one that changes the protocol. */
  async #head(first: () => void) {
    for (let interim = 0; ; interim++) {
      if (interim > MOST_INTERIM) throw new Absent("malformed", "informational answers without an end");
      const text = await this.#headText(first);
      const [start = "", ...lines] = text.split("\r\n");
      const match = /^HTTP\/(1\.[01]) (\d{3})(?: (.*))?$/.exec(start);
      if (!match) throw new Absent("malformed", `it answers ${looksLike(Buffer.from(text, "latin1"))}`);
      const status = Number(match[2]);
      if (status < 200 && status !== 101) continue;
      const answer = lines.map((line) => {
        const colon = line.indexOf(":");
        if (colon < 1) throw new Absent("malformed", "a header field without a name");
        return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()] as const;
      });
      return { status, statusText: match[3] ?? "", answer, version: match[1]! };
    }
  }

  async #headText(first: () => void): Promise<string> {
    const { pipe } = this;
    for (;;) {
      if (pipe.buffer.length > 0) {
        first();
        // As soon as it can be nothing else.
        const start = pipe.buffer.subarray(0, 5).toString("latin1");
        if (!"HTTP/".startsWith(start)) throw new Absent("malformed", `it answers ${looksLike(pipe.buffer)}`);
      }
      const end = pipe.buffer.indexOf("\r\n\r\n");
      if (end >= 0) {
        const text = pipe.take(end).toString("latin1");
        pipe.take(4);
        return text;
      }
      if (pipe.buffer.length > MOST_HEAD_BYTES) throw new Absent("malformed", "a head of more than 64 kB");
      if (!(await pipe.more())) {
        throw pipe.buffer.length === 0
          ? new Absent("closed")
          : new Absent("malformed", "an answer that ends in its head");
      }
    }
  }

  /** What came of it in time. @throws Absent */
  async #body(status: number, answer: Fields): Promise<Body> {
    if (status === 204 || status === 304) return { ...NOTHING, isFramed: true };
    if (EVENT_STREAM.test(field({ fields: answer }, "content-type") ?? "")) return { ...NOTHING, isCut: true };
    const { line, pipe } = this;
    const until = Math.min(line.deadline - 50, performance.now() + line.setting.bodyMs);
    pipe.deadline = until;
    const parts: Buffer[] = [];
    try {
      return await this.#framed(answer, parts);
    } catch (thrown) {
      if (reasonOf(thrown).code !== "timeout") throw thrown;
      line.setting.hasEndlessBody();
      return { body: Buffer.concat([...parts, pipe.take(MOST_BYTES)]), isCut: true, isFramed: false };
    } finally {
      pipe.deadline = line.deadline;
    }
  }

  /** RFC 9112 §6.3. */
  async #framed(answer: Fields, parts: Buffer[]): Promise<Body> {
    const { pipe } = this;
    const coding = field({ fields: answer }, "transfer-encoding")?.toLowerCase();
    if (coding?.endsWith("chunked")) return await this.#chunks(parts);
    const length = field({ fields: answer }, "content-length");
    if (length !== undefined) {
      if (!/^\d+$/.test(length)) throw new Absent("malformed", "a Content-Length that is no number");
      const isCut = Number(length) > MOST_BYTES;
      return { body: await pipe.need(Math.min(Number(length), MOST_BYTES)), isCut, isFramed: !isCut };
    }
    while (pipe.buffer.length < MOST_BYTES && (await pipe.more()));
    return { body: pipe.take(MOST_BYTES), isCut: !pipe.hasEnded, isFramed: false };
  }

  /** RFC 9112 §7.1. */
  async #chunks(parts: Buffer[]): Promise<Body> {
    const { pipe } = this;
    for (let total = 0; total < MOST_BYTES; ) {
      const line = await this.#lineText();
      if (!/^[0-9a-f]{1,8}\s*(;.*)?$/i.test(line)) throw new Absent("malformed", "a chunk without a size");
      const size = Number.parseInt(line, 16);
      if (size === 0) {
        while ((await this.#lineText()) !== "");
        return { body: Buffer.concat(parts), isCut: false, isFramed: true };
      }
      if (size > MOST_BYTES) break;
      parts.push(await pipe.need(size));
      if ((await pipe.need(2)).toString() !== "\r\n")
        throw new Absent("malformed", "a chunk that is longer than it says");
      total += size;
    }
    return { body: Buffer.concat(parts), isCut: true, isFramed: false };
  }

  async #lineText(): Promise<string> {
    const { pipe } = this;
    for (;;) {
      const end = pipe.buffer.indexOf("\r\n");
      if (end >= 0) {
        const text = pipe.take(end).toString("latin1");
        pipe.take(2);
        return text;
      }
      if (pipe.buffer.length > MOST_HEAD_BYTES) throw new Absent("malformed", "a line without an end");
      if (!(await pipe.more())) throw new Absent("closed", "in the middle of an answer");
    }
  }
}

interface Body {
  readonly body: Uint8Array;
  readonly isCut: boolean;
  /** It said itself where it ended. */
  readonly isFramed: boolean;
}

const NOTHING: Body = { body: new Uint8Array(), isCut: false, isFramed: false };
