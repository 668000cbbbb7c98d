/** HTTP/2 (RFC 9113) on a line: TLS with ALPN `h2`, or by prior knowledge without TLS. */
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import type { Duplex } from "node:stream";
import { EVENT_STREAM, type Fields, MOST_BYTES, USER_AGENT } from "./http1.ts";
import { absentOf, Line, looksLike, phasesOf } from "./line.ts";
import { Absent } from "./reason.ts";
import { ms, type Setting } from "./setting.ts";

export interface Ask2 {
  readonly method?: "GET" | "POST";
  readonly path?: string;
  readonly fields?: Fields;
  readonly body?: Uint8Array;
  readonly what: string;
}

export interface Answer2 {
  readonly status: number;
  readonly fields: Fields;
  readonly trailers: Fields;
  readonly body: Uint8Array;
  /** There was more, or it did not end in time. */
  readonly isCut: boolean;
  readonly phases: ReturnType<typeof phasesOf>;
}

export class Http2 {
  readonly line: Line;
  readonly #session: ClientHttp2Session;
  #fault: Error | undefined;
  #first: Uint8Array | undefined;
  /** Its SETTINGS came (RFC 9113 §3.4): whatever fails later, it is HTTP/2. */
  #isSpoken = false;

  private constructor(line: Line) {
    this.line = line;
    line.stream.once("data", (bytes: Uint8Array) => {
      this.#first = bytes;
    });
    const { authority } = line.setting.target;
    this.#session = connect(`${line.tls ? "https" : "http"}://${authority}`, {
      createConnection: () => line.stream as Duplex,
    });
    this.#session.on("error", (error) => {
      this.#fault = error;
    });
    this.#session.once("remoteSettings", () => {
      this.#isSpoken = true;
    });
  }

  /** @throws Absent */
  static async open(setting: Setting, isTls: boolean): Promise<Http2> {
    const line = await Line.open(setting, isTls ? { tls: { ALPNProtocols: ["h2"] } } : {});
    if (isTls && line.tls?.alpnProtocol !== "h2") {
      line.close();
      throw new Absent("alpn_other", line.tls?.alpnProtocol || "none chosen");
    }
    return new Http2(line);
  }

  /** @throws Absent */
  async ask(ask: Ask2): Promise<Answer2> {
    const { line } = this;
    try {
      return await line.setting.within(this.#exchange(ask), line.deadline);
    } catch (thrown) {
      throw this.#sharpen(thrown);
    }
  }

  close(): void {
    this.#session.destroy();
    this.line.close();
  }

  #exchange({ method = "GET", path, fields = [], body, what }: Ask2): Promise<Answer2> {
    const { line } = this;
    const { setting } = line;
    const { target } = setting;
    const { promise, resolve, reject } = Promise.withResolvers<Answer2>();
    const isFresh = line.take();
    const [startedAt, sentAt] = [isFresh ? line.begunDate : Date.now(), performance.now()];
    const own = { accept: "*/*", "user-agent": USER_AGENT, ...Object.fromEntries(fields) };
    const scheme = line.tls ? "https" : "http";
    const to = path ?? target.path;
    const request = this.#session.request(
      { ":method": method, ":path": to, ":scheme": scheme, ":authority": target.authority, ...own },
      { endStream: body === undefined },
    );
    let firstByteAt = 0;
    let head: IncomingHttpHeaders | undefined;
    let trailers: Fields = [];
    const parts: Buffer[] = [];
    let total = 0;
    let isDone = false;
    let isCut = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const done = (): void => {
      if (isDone) return;
      isDone = true;
      clearTimeout(timer);
      if (!head) {
        reject(this.#fault ? absentOf(this.#fault) : new Absent("closed"));
        return;
      }
      const endAt = performance.now();
      const phases = phasesOf(line, isFresh, firstByteAt, endAt, sentAt);
      const status = Number(head[":status"]);
      setting.meter.requests.push({
        version: "HTTP/2",
        method,
        url: `${scheme}://${target.authority}${to}`,
        address: setting.address.host,
        requestFields: Object.entries(own),
        requestBytes: body?.length ?? 0,
        status,
        statusText: "",
        fields: plain(head),
        bodyBytes: total,
        startedAt,
        phases,
        pretransfer: isFresh ? ms(setting.namelookupMs + sentAt - line.begunAt) : 0,
        isReused: !isFresh,
        what,
      });
      resolve({ status, fields: plain(head), trailers, body: Buffer.concat(parts), isCut, phases });
    };
    const cut = (): void => {
      isCut = true;
      request.close();
      done();
    };
    const late = (): void => {
      setting.hasEndlessBody();
      cut();
    };
    request.on("response", (headers) => {
      firstByteAt = performance.now();
      head = headers;
      // The end of a call is in its trailers, which are waited for.
      const type = String(headers["content-type"]);
      if (type.startsWith("application/grpc")) return;
      if (EVENT_STREAM.test(type)) cut();
      else timer = setTimeout(late, Math.min(setting.bodyMs, line.deadline - performance.now() - 50));
    });
    request.on("trailers", (headers) => {
      trailers = plain(headers);
    });
    request.on("data", (bytes: Buffer) => {
      total += bytes.length;
      parts.push(bytes);
      if (total > MOST_BYTES) cut();
    });
    request.on("error", (error) => reject(absentOf(this.#fault ?? error)));
    request.on("end", done);
    request.on("close", done);
    this.#session.once("close", done);
    if (body !== undefined) request.end(body);
    return promise;
  }

  /** What came first says more than that it was no HTTP/2. */
  #sharpen(thrown: unknown): Absent {
    const first = this.#first;
    if (first && !this.#isSpoken && looksLike(first) !== "HTTP/2")
      return new Absent("malformed", `it answers ${looksLike(first)}`);
    return absentOf(thrown);
  }
}

function plain(headers: IncomingHttpHeaders): Fields {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (name.startsWith(":") || value === undefined) return [];
    return Array.isArray(value) ? value.map((each) => [name, each] as const) : [[name, String(value)] as const];
  });
}
