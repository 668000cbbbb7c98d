/** Puts pieces of a stream together that come in any order: what is whole from its begin. */
export class Reassembly {
  #pieces: { readonly offset: number; readonly data: Uint8Array }[] = [];

  add(offset: number, data: Uint8Array): void {
    // Copied: the bytes of a packet may be those of a buffer that is used again (and the slice of a Buffer is no copy).
    this.#pieces.push({ offset, data: new Uint8Array(data) });
  }

  /** Bytes from 0 up to the first gap. */
  get bytes(): Uint8Array {
    this.#pieces.sort((a, b) => a.offset - b.offset);
    let end = 0;
    for (const { offset, data } of this.#pieces) {
      if (offset > end) break;
      end = Math.max(end, offset + data.length);
    }
    const whole = new Uint8Array(end);
    for (const { offset, data } of this.#pieces) {
      if (offset >= end) break;
      whole.set(data, offset);
    }
    return whole;
  }
}
