/** Events as NDJSON (PROTOCOL.md §2.6). */
import { MOST_BYTES } from "../../wire/bounded.ts";
import { LineSplitter } from "../../wire/ndjson.ts";
import {
  type Brought,
  decoded,
  isKind,
  type Parser,
  parse,
  toEvent,
  toVerdict,
  type WireEvent,
  type WireVerdict,
} from "./client-events.ts";
import type { StreamFormat } from "./client-read.ts";

class NdjsonParser implements Parser {
  readonly retryMs = undefined;
  readonly #lines = new LineSplitter(MOST_BYTES);

  feed(bytes: Uint8Array): Brought {
    const brought: Brought = { events: [] };
    for (const line of decoded(() => this.#lines.feed(bytes))) {
      const value = parse(line) as Partial<WireEvent & WireVerdict> & Pick<Brought, "close">;
      if (value.verdict) brought.verdict = toVerdict(value as WireVerdict);
      else if (value.close) brought.close = value.close;
      else if (isKind(value.kind)) brought.events.push(toEvent(value as WireEvent));
    }
    return brought;
  }
}

export const NDJSON: StreamFormat = { type: "application/x-ndjson", parser: () => new NdjsonParser() };
