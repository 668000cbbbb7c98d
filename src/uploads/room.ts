/** How much uploads may take: in number and bytes, for each principal and in all. What is announced is taken at once. */
import type { Limits } from "../contract/index.ts";
import { Fault } from "../log/index.ts";

export class Room {
  readonly #limits: Limits;
  readonly #payers = new Map<string, { uploads: number; bytes: number }>();
  #bytes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** @throws Fault `resource_exhausted` when the payer has too many uploads */
  enter(payer: string): void {
    const own = this.#of(payer);
    const { uploadsPerPrincipal } = this.#limits;
    if (own.uploads >= uploadsPerPrincipal) {
      throw new Fault("resource_exhausted", `${uploadsPerPrincipal} uploads of this caller are kept already`, {
        limit: "uploadsPerPrincipal",
        hint: "finish or delete some, or raise the limit uploadsPerPrincipal of the server",
        retryAfterMs: 60_000,
      });
    }
    own.uploads++;
  }

  /** One that an earlier process has let in. */
  found(payer: string, bytes: number): void {
    this.#of(payer).uploads++;
    this.add(payer, bytes);
  }

  leave(payer: string, bytes: number): void {
    const own = this.#of(payer);
    own.uploads--;
    this.add(payer, -bytes);
    if (own.uploads <= 0) this.#payers.delete(payer);
  }

  /** @throws Fault `resource_exhausted` when there is no room for so many more; gives nothing back when it throws */
  take(payer: string, bytes: number): void {
    const { uploadBytesPerPrincipal, uploadBytesTotal } = this.#limits;
    if (this.#of(payer).bytes + bytes > uploadBytesPerPrincipal) {
      throw full("uploadBytesPerPrincipal", uploadBytesPerPrincipal, "the uploads of this caller");
    }
    if (this.#bytes + bytes > uploadBytesTotal) throw full("uploadBytesTotal", uploadBytesTotal, "all uploads");
    this.add(payer, bytes);
  }

  /** Of what is there already. */
  add(payer: string, bytes: number): void {
    this.#of(payer).bytes += bytes;
    this.#bytes += bytes;
  }

  #of(payer: string) {
    let own = this.#payers.get(payer);
    if (!own) {
      own = { uploads: 0, bytes: 0 };
      this.#payers.set(payer, own);
    }
    return own;
  }
}

function full(limit: string, bytes: number, whose: string): Fault {
  return new Fault(
    "resource_exhausted",
    `${whose} may have ${bytes} bytes together, and there is no room for this one`,
    {
      limit,
      retryable: false,
      hint: `delete uploads that are not needed, or raise the limit ${limit} of the server`,
    },
  );
}
