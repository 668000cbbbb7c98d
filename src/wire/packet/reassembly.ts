/** Puts pieces of a stream together that come in any order: what is whole from its begin. */
export class Reassembly {
  #whole = new Uint8Array(1_024);
  #end = 0;
  /** What came before something else did. */
  #early: { readonly offset: number; readonly data: Uint8Array }[] = [];

  add(offset: number, data: Uint8Array): void {
    if (offset > this.#end) {
      // Copied: the bytes of a packet may be those of a buffer that is used again (and the slice of a Buffer is no copy).
      this.#early.push({ offset, data: new Uint8Array(data) });
      return;
    }
    this.#append(offset, data);
    if (this.#early.length === 0) return;
    const waiting = this.#early.sort((a, b) => a.offset - b.offset);
    this.#early = waiting.filter((piece) => {
      if (piece.offset > this.#end) return true;
      this.#append(piece.offset, piece.data);
      return false;
    });
  }

  /** Bytes from 0 up to the first gap. They do not change, but more may come. */
  get bytes(): Uint8Array {
    return this.#whole.subarray(0, this.#end);
  }

  /** What is new in it; the first that came counts. */
  #append(offset: number, data: Uint8Array): void {
    const fresh = data.subarray(this.#end - offset);
    if (fresh.length === 0) return;
    if (this.#end + fresh.length > this.#whole.length) {
      const larger = new Uint8Array(Math.max(this.#whole.length * 2, this.#end + fresh.length));
      larger.set(this.bytes);
      this.#whole = larger;
    }
    this.#whole.set(fresh, this.#end);
    this.#end += fresh.length;
  }
}
