/** Bytes of a line, taken as they are needed, each wait with a deadline. */

import { absentOf, type Line } from "./line.ts";
import { Absent } from "./reason.ts";

export class Pipe {
  readonly line: Line;
  #buffer: Buffer = Buffer.alloc(0);
  #isEnded = false;
  #error: Absent | undefined;
  #wake: (() => void) | undefined;
  /** Of each wait, unless another one is given; at first that of the line. */
  deadline: number;
  /** When the last bytes came, on the clock of `performance.now()`. */
  lastAt = 0;

  constructor(line: Line) {
    this.line = line;
    this.deadline = line.deadline;
    const { stream } = line;
    stream.on("data", (bytes: Buffer) => {
      this.lastAt = performance.now();
      this.#buffer = Buffer.concat([this.#buffer, bytes]);
      this.#wake?.();
    });
    const over = (error?: Error): void => {
      if (error) this.#error ??= absentOf(error);
      this.#isEnded = true;
      this.#wake?.();
    };
    stream.on("end", () => over());
    stream.on("close", () => over());
    stream.on("error", over);
  }

  get hasEnded(): boolean {
    return this.#isEnded;
  }

  /** What has come and was not taken. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  send(bytes: string | Uint8Array): void {
    this.line.stream.write(bytes);
  }

  take(count: number): Buffer {
    const taken = this.#buffer.subarray(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  /** Waits for more bytes; false at the end. @throws Absent at the deadline, or when the connection is cut */
  async more(deadline = this.deadline): Promise<boolean> {
    if (this.#isEnded) return this.#over();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const had = this.#buffer.length;
    await this.line.setting.within(promise, deadline);
    this.#wake = undefined;
    return this.#buffer.length > had || this.#over();
  }

  /** Waits for so many bytes. @throws Absent */
  async need(count: number): Promise<Buffer> {
    while (this.#buffer.length < count)
      if (!(await this.more())) throw new Absent("closed", "in the middle of an answer");
    return this.take(count);
  }

  #over(): false {
    if (this.#error) throw this.#error;
    return false;
  }
}
