/** As much of HTTP/1.1 (RFC 9112) as one request and its answer on a connection need. Lab programs only. */

export interface Message {
  /** `GET /path HTTP/1.1` or `HTTP/1.1 200 OK`. */
  readonly start: string;
  /** By their names in lower case. */
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The whole messages at the beginning of what has come, and the rest. */
export function readMessages(bytes: Uint8Array): { readonly messages: readonly Message[]; readonly rest: Uint8Array } {
  const messages: Message[] = [];
  let rest = Buffer.from(bytes);
  for (;;) {
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) break;
    const [start = "", ...lines] = rest.subarray(0, end).toString("latin1").split("\r\n");
    const fields = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const whole = end + 4 + Number(fields["content-length"] ?? 0);
    if (rest.length < whole) break;
    messages.push({ start, fields, body: rest.subarray(end + 4, whole).toString() });
    rest = rest.subarray(whole);
  }
  return { messages, rest };
}

export function writeMessage({ start, fields, body }: Message): Uint8Array {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${start}\r\n${lines.join("")}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}
