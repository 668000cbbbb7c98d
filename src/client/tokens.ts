/** The caller's credential, asked for once and again when the server takes it no more. */
import type { Token } from "../transports/http/client-request.ts";

export class Tokens {
  /** Whether asking again can give another one. */
  readonly canRenew: boolean;
  readonly #token: Token;
  #kept: string | Promise<string> | undefined;

  constructor(token: Token) {
    this.#token = token;
    this.canRenew = typeof token === "function";
  }

  readonly get = (renew = false): string | Promise<string> => {
    if (renew) this.renew();
    if (this.#kept !== undefined) return this.#kept;
    const token = typeof this.#token === "function" ? this.#token() : this.#token;
    this.#kept = token;
    if (typeof token !== "string") {
      const forget = (): void => {
        if (this.#kept === token) this.#kept = undefined;
      };
      token.catch(forget);
    }
    return token;
  };

  renew(): void {
    if (this.canRenew) this.#kept = undefined;
  }
}
