/** One reading of the client: pages as they come, and credit for those that were taken. */
import type { Fault } from "../log/fault.ts";
import type { Page } from "../log/index.ts";
import type { Line } from "./client-line.ts";
import { type Handler, listen, type Opening, toPage } from "./client-message.ts";

/**
 * @param window most events that may be on their way
 * @param begin begins the exchange on that line
 */
export async function* readPages(
  line: Line,
  begin: (message: Opening, handler: Handler) => number,
  message: Opening,
  follow: boolean,
  window: number,
  ...signals: readonly (AbortSignal | undefined)[]
): AsyncGenerator<Page, undefined> {
  const pages: Page[] = [];
  let wake: (() => void) | undefined;
  let end: Fault | true | undefined;
  let last: Page | undefined;
  // Following is what happens when nothing is said.
  const id = begin({ ...message, credit: window, follow: follow && undefined }, (answer, fault) => {
    if (!answer) end = fault!;
    else if (answer.type === "events") {
      last = toPage(answer);
      if (follow) pages.push(last);
    } else if (answer.type === "done") {
      end = true;
      const { cursor, ended = false, more = false } = answer;
      // Of one page all is known only now.
      if (!follow && last) pages.push({ ...last, more, ended });
      // The log had ended before its place.
      else if (ended && !last?.ended) pages.push({ events: [], cursor, more, ended });
    }
    wake?.();
  });
  const stop = (): void => {
    end = true;
    pages.length = 0;
    release();
    line.leave(id);
    wake?.();
  };
  const release = listen(stop, ...signals);
  try {
    for (let used = 0; ; ) {
      const page = pages.shift();
      if (page) {
        yield page;
        used += page.events.length;
        if (used * 2 >= window && !end) {
          line.send({ type: "credit", id, n: used });
          used = 0;
        }
      } else if (end) {
        if (end !== true) throw end;
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    release();
    line.leave(id);
  }
}
