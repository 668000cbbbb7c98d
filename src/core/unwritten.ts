/** Room for what handlers have said and the store does not have yet. Who comes when there is none waits in line. */
export class Unwritten {
  readonly #most: number;
  readonly #line: { readonly bytes: number; readonly enter: () => void }[] = [];
  #bytes = 0;

  /** @param most bytes at once; what is larger has its turn alone */
  constructor(most: number) {
    this.#most = most;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#bytes >= this.#most;
  }

  /** Nothing when there is room, else a promise of it. */
  take(bytes: number): Promise<void> | undefined {
    if (this.#line.length === 0 && this.#hasRoom(bytes)) {
      this.#bytes += bytes;
      return undefined;
    }
    return new Promise((enter) => this.#line.push({ bytes, enter }));
  }

  /** For what cannot wait; less than nothing where it takes the place of more. */
  add(bytes: number): void {
    this.#bytes += bytes;
  }

  /** It is written, or lost. */
  give(bytes: number): void {
    this.#bytes -= bytes;
    let next = this.#line[0];
    // Taken for those who wait before they hear of it: so many cannot come in at once.
    for (; next && this.#hasRoom(next.bytes); next = this.#line[0]) {
      this.#bytes += next.bytes;
      this.#line.shift();
      next.enter();
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#most;
  }
}
