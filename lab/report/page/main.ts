/** The script of the report: ladders, and values under the pointer. The page reads well without it. */
import type { PageLadder } from "./data.ts";
import { LadderView } from "./ladder.ts";
import { tooltips } from "./tooltips.ts";

tooltips(document.body);
const data = document.getElementById("ladders");
const root = document.querySelector<HTMLElement>(".ladder-box");
if (data && root) {
  const ladders = JSON.parse(data.textContent ?? "[]") as PageLadder[];
  if (ladders.length > 0) {
    const view = new LadderView(root, ladders);
    for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-ladder]")) {
      link.addEventListener("click", () => view.choose(Number(link.dataset["ladder"])));
    }
  }
}
