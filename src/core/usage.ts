/** How many bytes each principal's calls keep in the store. Counted at start, then kept up to date. */
import type { Store } from "../log/index.ts";
import { Fault } from "../log/index.ts";

export class Usage {
  readonly #bytes = new Map<string, number>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  add(owner: string, bytes: number): void {
    const now = (this.#bytes.get(owner) ?? 0) + bytes;
    if (now <= 0) this.#bytes.delete(owner);
    else this.#bytes.set(owner, now);
  }

  /** @throws Fault `resource_exhausted` when the principal has no room for another call. */
  check(owner: string): void {
    if ((this.#bytes.get(owner) ?? 0) < this.#most) return;
    throw new Fault("resource_exhausted", `the calls of this caller keep ${this.#most} bytes already`, {
      limit: "storedBytesPerPrincipal",
      retryable: false,
      hint: "wait until older calls are removed, shorten the retention, or raise storedBytesPerPrincipal",
    });
  }

  async count(store: Store): Promise<void> {
    let after: string | undefined;
    do {
      const page = await store.list({ prefix: "calls/", limit: 1000, ...(after !== undefined && { after }) });
      for (const info of page.logs) this.add(info.labels["owner"] ?? "", info.bytes);
      after = page.next;
    } while (after !== undefined);
  }
}
