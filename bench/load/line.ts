/** One connection of HTTP/1.1 on a raw socket: large bodies cost the client little more than the copy to the kernel. */
import { connect, type Socket } from "node:net";

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces, which may be the same bytes again and again. */
  readonly body?: readonly Uint8Array[];
}

export class HttpLine {
  readonly #socket: Socket;
  readonly #host: string;
  #received: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #error: Error | undefined;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.on("data", (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake?.();
    });
    socket.on("drain", () => this.#wake?.());
    for (const event of ["error", "close"] as const) {
      socket.on(event, (error?: unknown) => {
        this.#error ??= error instanceof Error ? error : new Error("the server closed the connection");
        this.#wake?.();
      });
    }
  }

  static async open(port: number): Promise<HttpLine> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new HttpLine(socket, `127.0.0.1:${port}`);
  }

  async ask({ method, path, headers = {}, body = [] }: Asked): Promise<Answer> {
    const length = body.reduce((sum, piece) => sum + piece.length, 0);
    const fields = Object.entries({ host: this.#host, "content-length": String(length), ...headers });
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    this.#socket.write(`${method} ${path} HTTP/1.1\r\n${lines}\r\n`);
    for (const piece of body) {
      // An early answer is a refusal: nothing more needs to be sent.
      if (this.#received.length > 0) break;
      if (!this.#socket.write(piece))
        await this.#until(() => !this.#socket.writableNeedDrain || this.#received.length > 0);
    }
    return await this.#answer(method);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #answer(method: string): Promise<Answer> {
    const end = await this.#find("\r\n\r\n", 0);
    const [first = "", ...lines] = this.#take(end + 4).split("\r\n");
    const headers = new Map(
      lines
        .filter((line) => line.includes(":"))
        .map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    const status = Number(first.split(" ")[1]);
    const hasBody = method !== "HEAD" && status !== 204 && status !== 304;
    return { status, headers, body: hasBody ? await this.#body(headers) : "" };
  }

  async #body(headers: ReadonlyMap<string, string>): Promise<string> {
    if (headers.get("transfer-encoding") !== "chunked") {
      const length = Number(headers.get("content-length") ?? 0);
      await this.#until(() => this.#received.length >= length);
      return this.#take(length);
    }
    for (let body = ""; ; ) {
      const size = Number.parseInt(this.#take((await this.#find("\r\n", 0)) + 2), 16);
      await this.#until(() => this.#received.length >= size + 2);
      if (size === 0) {
        this.#take(2);
        return body;
      }
      body += this.#take(size + 2).slice(0, size);
    }
  }

  async #find(text: string, from: number): Promise<number> {
    await this.#until(() => this.#received.indexOf(text, from, "latin1") >= 0);
    return this.#received.indexOf(text, from, "latin1");
  }

  #take(length: number): string {
    const text = this.#received.toString("latin1", 0, length);
    this.#received = this.#received.subarray(length);
    return text;
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      if (this.#error) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
