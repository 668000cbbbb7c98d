/** What a server sends, with an end of our own: one that is broken, or wants to do harm, may send for ever. */

/** Most bytes of one answer, message or event: more than any server lets in by default. */
export const MOST_BYTES = 64 * 1024 * 1024;

export class TooLong extends Error {
  override readonly name = "TooLong";

  constructor(most: number) {
    super(`the answer is too long: more than ${most} bytes came`);
  }
}

/** All of a body, as text. What is too long is not read on. @throws TooLong, and what the reading of it throws */
export async function textOf({ body }: Response, most: number = MOST_BYTES): Promise<string> {
  if (body === null) return "";
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  const utf8 = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + utf8.decode();
    bytes += value.length;
    if (bytes > most) {
      const error = new TooLong(most);
      // Nobody waits for its end: a connection may take its time.
      void reader.cancel(error).catch(() => {});
      throw error;
    }
    text += utf8.decode(value, { stream: true });
  }
}
