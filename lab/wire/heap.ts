/** Deliveries by their time; those of the same time in the order in which they came. */
export class Heap<T> {
  readonly #items: { readonly at: number; readonly order: number; readonly item: T }[] = [];
  #order = 0;

  get size(): number {
    return this.#items.length;
  }

  /** When the first is due. */
  get next(): number | undefined {
    return this.#items[0]?.at;
  }

  push(at: number, item: T): void {
    const items = this.#items;
    const entry = { at, order: this.#order++, item };
    let index = items.length;
    items.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(entry, items[parent]!)) break;
      items[index] = items[parent]!;
      index = parent;
    }
    items[index] = entry;
  }

  pop(): T | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first?.item;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child++;
      if (!before(items[child]!, last)) break;
      items[index] = items[child]!;
      index = child;
    }
    items[index] = last;
    return first.item;
  }
}

function before(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
