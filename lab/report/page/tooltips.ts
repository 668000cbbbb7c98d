/** What a mark of a plot stands for, beside the pointer at once; `title` alone waits a second, and not for fingers. */
export function tooltips(root: HTMLElement): void {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  root.append(tip);
  const show = (event: PointerEvent) => {
    const mark = (event.target as Element).closest?.(".plot circle, .plot rect, .plot line.median");
    const text = mark?.querySelector("title")?.textContent;
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const { offsetWidth: width, offsetHeight: height } = tip;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, innerWidth - width - 12))}px`;
    tip.style.top = `${event.clientY > height + 24 ? event.clientY - height - 10 : event.clientY + 18}px`;
  };
  root.addEventListener("pointermove", show);
  root.addEventListener("pointerdown", show);
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });
}
