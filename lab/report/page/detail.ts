/** One packet with its layers, for the panel below the ladder. */
import type { PageLadder, Row } from "./data.ts";
import { timeText } from "./positions.ts";

const DROPS: Readonly<Record<string, string>> = {
  loss: "lost on the wire",
  queue: "dropped: the queue was full",
  rule: "dropped by a rule",
  mtu: "dropped: larger than the MTU",
  nat: "dropped by the NAT box",
  route: "dropped: nobody has the address",
  cut: "dropped: the host was cut off",
};

export function detail(row: Row, index: number, { hosts, texts, flows }: PageLadder): HTMLElement {
  const [at, leftAt, from, to, bytes, flow, label, kind, drop, notes, layers] = row;
  const name = (host: number) => hosts[host]?.name ?? "nobody";
  const box = make("div", "packet");
  const title = make("p", "packet-title");
  title.append(make("strong", `k-${kind}`, texts[label]!));
  for (const note of notes) title.append(" ", make("span", "badge refused", note));
  if (drop !== "") title.append(" ", make("span", "badge failed", DROPS[drop] ?? drop));
  const when = leftAt < 0 ? timeText(at) : `${timeText(at)} → ${timeText(leftAt)}, ${timeText(leftAt - at)} on the way`;
  const facts = [
    `packet ${index + 1}`,
    `${name(from)} → ${name(to)}`,
    when,
    `${bytes.toLocaleString("en")} bytes`,
    flows[flow],
  ];
  box.append(title, make("p", "muted", facts.filter(Boolean).join(" · ")));
  const bar = make("div", "layer-bar");
  const table = make("table", "layers");
  for (const [layer, own, osi, text] of layers) {
    const part = make("span", `osi${osi}`);
    part.style.flexGrow = String(Math.max(own, bytes / 40));
    bar.append(part);
    const line = make("tr", "");
    line.append(
      make("td", `osi${osi}`, layer),
      make("td", "number", `${own.toLocaleString("en")} B`),
      make("td", "muted", `layer ${osi}`),
      make("td", "", texts[text]!),
    );
    table.append(line);
  }
  box.append(bar, table);
  return box;
}

function make(tag: string, name: string, text?: string): HTMLElement {
  const made = document.createElement(tag);
  if (name !== "") made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}
