/** A packet ladder that can be scrolled and zoomed: only what is in the window is drawn. */
import type { PageLadder, Row } from "./data.ts";
import { detail } from "./detail.ts";
import { isLoss, LABEL_PX, labelled, lowerBound, type Mode, type Positions, positions, timeText } from "./positions.ts";
import { type Columns, characterOf, columnsOf, drawRow, element } from "./rungs.ts";

/** Arrows in the window; of more, one for each line of pixels, side and kind is drawn. */
const MOST_ARROWS = 900;
const ZOOMS: Readonly<Record<Mode, readonly [number, number]>> = { order: [0.1, 8], time: [1, 100_000] };

export class LadderView {
  readonly #ladders: readonly PageLadder[];
  readonly #scroller: HTMLElement;
  readonly #space: HTMLElement;
  readonly #svg: SVGSVGElement;
  readonly #detail: HTMLElement;
  readonly #head: SVGSVGElement;
  readonly #captures: HTMLSelectElement;
  readonly #flows: HTMLSelectElement;
  readonly #count: HTMLElement;
  #ladder!: PageLadder;
  #rows: readonly Row[] = [];
  #positions!: Positions;
  #columns!: Columns;
  #mode: Mode = "order";
  #zoom = 1;
  #selected = -1;
  #isPinned = false;
  #waiting = 0;
  readonly #fingers = new Map<number, number>();

  constructor(root: HTMLElement, ladders: readonly PageLadder[]) {
    this.#ladders = ladders;
    const part = <T extends Element>(selector: string) => root.querySelector<T>(selector)!;
    this.#scroller = part(".ladder");
    this.#space = part(".ladder-space");
    this.#svg = part(".ladder-space svg");
    this.#head = part(".ladder-head");
    this.#detail = part(".ladder-detail");
    this.#captures = part("select[name=capture]");
    this.#flows = part("select[name=flow]");
    this.#count = part(".ladder-count");
    root.hidden = false;
    this.#listen(root);
    this.choose(0);
  }

  choose(index: number): void {
    const ladder = this.#ladders[index];
    if (!ladder) return;
    this.#ladder = ladder;
    this.#captures.value = String(index);
    this.#flows.replaceChildren(
      ...["all connections", ...ladder.flows].map((text, at) => new Option(text, String(at - 1))),
    );
    this.#flows.hidden = ladder.flows.length < 2;
    this.#filter();
  }

  #filter(): void {
    const flow = Number(this.#flows.value);
    this.#rows = flow < 0 ? this.#ladder.rows : this.#ladder.rows.filter((row) => row[5] === flow);
    const { total, rows, file } = this.#ladder;
    const left =
      total > rows.length ? `; the first ${rows.length.toLocaleString("en")} of ${total.toLocaleString("en")}` : "";
    this.#count.textContent = `${this.#rows.length.toLocaleString("en")} packets${left}${file === null ? "" : ` · ${file}`}`;
    this.#selected = -1;
    this.#isPinned = false;
    this.#detail.replaceChildren(hint());
    this.#zoom = 1;
    this.#layout();
    this.#scroller.scrollTop = 0;
    this.#select(0, false);
  }

  #layout(): void {
    const { clientWidth: width, clientHeight: height } = this.#scroller;
    this.#positions = positions(this.#ladder, this.#rows, this.#mode, this.#zoom, height);
    this.#columns = columnsOf(width, this.#ladder.hosts.length, characterOf(this.#svg));
    this.#space.style.height = `${Math.max(this.#positions.height, height)}px`;
    this.#svg.setAttribute("width", String(width));
    this.#svg.setAttribute("height", String(height));
    this.#drawHead(width);
    this.#draw();
  }

  #drawHead(width: number): void {
    this.#head.setAttribute("width", String(width));
    const names = this.#ladder.hosts.flatMap(({ name, address }, index) => {
      const x = this.#columns.at(index);
      const anchor = { "text-anchor": this.#columns.headAnchor(index), x };
      return [
        element("text", { ...anchor, y: 16, class: "host" }, name),
        element("text", { ...anchor, y: 31, class: "address" }, address),
      ];
    });
    this.#head.replaceChildren(...names);
  }

  #later(): void {
    if (this.#waiting === 0) this.#waiting = requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    this.#waiting = 0;
    const { scrollTop: top, clientHeight: height, clientWidth: width } = this.#scroller;
    const { from, to, reach, marks } = this.#positions;
    const columns = this.#columns;
    const shapes: SVGElement[] = this.#ladder.hosts.map((_, index) => {
      const x = columns.at(index);
      return element("line", { class: "host-line", x1: x, x2: x, y1: 0, y2: height });
    });
    if (this.#mode === "time") shapes.push(...this.#ticks(top, height));
    for (const [index, { text, host }] of this.#ladder.marks.entries()) {
      const y = marks[index]! - top;
      if (y < -20 || y > height + 20) continue;
      shapes.push(element("line", { class: "mark", x1: columns.left, x2: width, y1: y, y2: y }));
      const isLast = host > 0 && host === this.#ladder.hosts.length - 1;
      const x = isLast ? width - 6 : columns.left + 4;
      shapes.push(
        element("text", { class: "mark", x, y: y - 4, "text-anchor": isLast ? "end" : "start" }, `◆ ${text}`),
      );
    }
    const visible: number[] = [];
    for (
      let index = lowerBound(reach, top - 30);
      index < this.#rows.length && from[index]! < top + height + 30;
      index++
    ) {
      if (Math.max(to[index]!, from[index]!) > top - 30) visible.push(index);
    }
    const drawn = visible.length > MOST_ARROWS ? this.#thinned(visible) : visible;
    const shown = labelled(from, this.#rows, drawn, this.#selected);
    let timeAt = Number.NEGATIVE_INFINITY;
    for (const index of drawn) {
      const row = this.#rows[index]!;
      const y = from[index]! - top;
      const hasTime = this.#mode === "order" && y - timeAt >= LABEL_PX;
      if (hasTime) timeAt = y;
      shapes.push(
        drawRow(row, {
          index,
          y,
          yEnd: to[index]! - top,
          columns,
          label: shown.has(index) ? this.#ladder.texts[row[6]]! : undefined,
          time: hasTime ? timeText(row[0]) : undefined,
          isSelected: index === this.#selected,
        }),
      );
    }
    this.#svg.replaceChildren(...shapes);
  }

  #thinned(visible: readonly number[]): number[] {
    const seen = new Set<string>();
    return visible.filter((index) => {
      const row = this.#rows[index]!;
      const key = `${Math.round(this.#positions.from[index]! / 2)} ${row[2]} ${row[8] === "" ? row[7] : "lost"}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
  }

  #ticks(top: number, height: number): SVGElement[] {
    const { spanNs } = this.#ladder;
    const place = positions(
      {
        ...this.#ladder,
        marks: [
          { at: 0, host: 0, text: "" },
          { at: spanNs, host: 0, text: "" },
        ],
      },
      [],
      "time",
      this.#zoom,
      height,
    );
    const [first, last] = [place.marks[0]!, place.marks[1]!];
    const perPixel = spanNs / Math.max(1, last - first);
    const raw = perPixel * 60;
    const power = 10 ** Math.floor(Math.log10(Math.max(1, raw)));
    const step = power * ([1, 2, 5, 10].find((each) => each * power >= raw) ?? 10);
    const shapes: SVGElement[] = [];
    const begin = Math.max(0, Math.floor(((top - first) * perPixel) / step));
    for (let n = begin; n * step <= spanNs * 1.02; n++) {
      const y = first + (n * step) / perPixel - top;
      if (y > height + 20) break;
      shapes.push(
        element("line", { class: "tick", x1: this.#columns.left, x2: this.#scroller.clientWidth, y1: y, y2: y }),
      );
      shapes.push(
        element(
          "text",
          { class: "time", x: this.#columns.left - 6, y: y + 4, "text-anchor": "end" },
          timeText(n * step),
        ),
      );
    }
    return shapes;
  }

  #zoomBy(factor: number, y = this.#scroller.clientHeight / 2): void {
    const [least, most] = ZOOMS[this.#mode];
    const zoom = Math.min(most, Math.max(least, this.#zoom * factor));
    const before = this.#positions.height;
    const at = this.#scroller.scrollTop + y;
    this.#zoom = zoom;
    this.#layout();
    // What was under the pointer stays there.
    this.#scroller.scrollTop = at * (this.#positions.height / before) - y;
    this.#later();
  }

  #select(index: number, isPinned: boolean): void {
    const row = this.#rows[index];
    if (!row || (index === this.#selected && isPinned === this.#isPinned)) return;
    this.#selected = index;
    this.#isPinned = isPinned;
    this.#detail.replaceChildren(detail(row, index, this.#ladder));
    this.#later();
  }

  /** With the keys: the next one, in the window. */
  #step(by: number): void {
    const index = Math.max(0, Math.min(this.#rows.length - 1, this.#selected + by));
    this.#select(index, true);
    this.#show(index);
  }

  #show(index: number): void {
    const [y, { scrollTop: top, clientHeight: height }] = [this.#positions.from[index]!, this.#scroller];
    if (y < top + 30 || y > top + height - 40) this.#scroller.scrollTop = y - height / 3;
  }

  #nextLoss(): void {
    const after = this.#rows.findIndex((row, index) => index > this.#selected && isLoss(row));
    const index = after >= 0 ? after : this.#rows.findIndex(isLoss);
    if (index < 0) {
      this.#detail.replaceChildren(hint("No packet was lost or sent again here."));
      return;
    }
    this.#select(index, true);
    this.#show(index);
  }

  /** The packet whose arrow or label is nearest to the pointer. */
  #under(event: MouseEvent): number {
    const box = this.#scroller.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top + this.#scroller.scrollTop];
    let [best, distance] = [-1, 16];
    const { from, to, reach } = this.#positions;
    for (let index = lowerBound(reach, y - 30); index < this.#rows.length && from[index]! < y + 30; index++) {
      const row = this.#rows[index]!;
      const [a, b] = this.#columns.ends(row);
      const part = Math.max(0, Math.min(1, (x - a) / (b - a || 1)));
      const away = Math.abs(y - (from[index]! + part * (to[index]! - from[index]!)));
      if (away < distance) [best, distance] = [index, away];
    }
    return best;
  }

  #listen(root: HTMLElement): void {
    const scroller = this.#scroller;
    scroller.addEventListener("scroll", () => this.#later(), { passive: true });
    new ResizeObserver(() => this.#ladder && this.#layout()).observe(scroller);
    this.#captures.addEventListener("change", () => this.choose(Number(this.#captures.value)));
    this.#flows.addEventListener("change", () => this.#filter());
    for (const button of root.querySelectorAll<HTMLButtonElement>("button[data-do]")) {
      button.addEventListener("click", () => {
        const what = button.dataset["do"];
        if (what === "in") this.#zoomBy(1.5);
        else if (what === "out") this.#zoomBy(1 / 1.5);
        else this.#nextLoss();
      });
    }
    for (const radio of root.querySelectorAll<HTMLInputElement>("input[name=mode]")) {
      radio.addEventListener("change", () => {
        this.#mode = radio.value as Mode;
        this.#zoom = 1;
        this.#layout();
        if (this.#selected >= 0) this.#show(this.#selected);
      });
    }
    scroller.addEventListener("pointermove", (event) => {
      if (this.#pinch(event)) return;
      if (event.pointerType === "mouse" && !this.#isPinned) this.#select(this.#under(event), false);
    });
    scroller.addEventListener("pointerdown", (event) => this.#fingers.set(event.pointerId, event.clientY));
    for (const end of ["pointerup", "pointercancel", "pointerleave"] as const) {
      scroller.addEventListener(end, (event) => this.#fingers.delete(event.pointerId));
    }
    scroller.addEventListener("click", (event) => {
      const index = this.#under(event);
      if (index === this.#selected && this.#isPinned) this.#isPinned = false;
      else this.#select(index, true);
    });
    // The wheel alone scrolls, as everywhere; a pinch on a touchpad comes as a wheel with Ctrl.
    scroller.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.#zoomBy(Math.exp(-event.deltaY / 200), event.clientY - scroller.getBoundingClientRect().top);
      },
      { passive: false },
    );
    scroller.addEventListener("keydown", (event) => {
      const keys: Readonly<Record<string, () => void>> = {
        ArrowDown: () => this.#step(1),
        ArrowUp: () => this.#step(-1),
        "+": () => this.#zoomBy(1.5),
        "=": () => this.#zoomBy(1.5),
        "-": () => this.#zoomBy(1 / 1.5),
        n: () => this.#nextLoss(),
      };
      const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  /** Two fingers: their distance is the zoom. */
  #pinch(event: PointerEvent): boolean {
    const before = [...this.#fingers.values()];
    if (this.#fingers.has(event.pointerId)) this.#fingers.set(event.pointerId, event.clientY);
    if (before.length !== 2) return false;
    const now = [...this.#fingers.values()];
    const span = ([a, b]: number[]) => Math.max(20, Math.abs(a! - b!));
    const middle = (now[0]! + now[1]!) / 2 - this.#scroller.getBoundingClientRect().top;
    this.#zoomBy(span(now) / span(before), middle);
    return true;
  }
}

function hint(
  text = "Point at a packet to see its layers; click to keep it. Arrow keys go on, + and − zoom, n goes to the next loss.",
): HTMLElement {
  const paragraph = document.createElement("p");
  paragraph.className = "muted";
  paragraph.textContent = text;
  return paragraph;
}
