/**
 * The report as one page: everything is in it, and it asks nobody for anything. Its policy allows its own style and
 * script by their hashes, and nothing else.
 */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Ladder } from "../capture/ladder.ts";
import { ladderText } from "../capture/ladder-text.ts";
import type { Verdict } from "../experiment.ts";
import type { Run } from "../run.ts";
import { type RunDocument, worst } from "./document.ts";
import { escapeJson, escapeMarkup as safe } from "./escape.ts";
import { pageLadder } from "./page/data.ts";
import { plotFigure } from "./plots.ts";
import { badge, findingsTable } from "./table.ts";
import { conditionsText, dropText, explained } from "./text.ts";

/** Packets that the page has of one capture, and of all of them; the files have the rest. */
const MOST_PACKETS = 10_000;
const MOST_IN_ALL = 40_000;
/** Lines of a ladder as text. */
const MOST_LINES = 500;

export interface Page {
  readonly run: Run;
  readonly document: RunDocument;
  readonly ladders: readonly Ladder[];
}

export async function htmlOf({ run, document, ladders }: Page): Promise<string> {
  const style = await Bun.file(new URL("./page/style.css", import.meta.url)).text();
  const script = await pageScript();
  const allowed = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const policy = `default-src 'none'; style-src ${allowed(style)}; script-src ${allowed(script)}; base-uri 'none'; form-action 'none'`;
  const title = run.variant === undefined ? run.title : `${run.title}, ${run.variant}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${safe(title)} · backtalk lab</title>
<style>${style}</style>
</head>
<body>
<main>
${header(run, title)}
${findingsTable(run, ladders)}
${explanations(run)}
${plots(run)}
${ladderSection(document, ladders)}
${notes(run)}
${footer(run, document)}
</main>
<script>${script}</script>
</body>
</html>
`;
}

/** Small, and made when it is needed: the same source is checked by the compiler with everything else. */
async function pageScript(): Promise<string> {
  const entry = fileURLToPath(new URL("./page/main.ts", import.meta.url));
  const { outputs } = await Bun.build({ entrypoints: [entry], target: "browser", format: "iife", minify: true });
  // Nothing in it may end the element that it stands in.
  return (await outputs[0]!.text()).replaceAll("</script", "<\\/script").trim();
}

function header(run: Run, title: string): string {
  const verdicts = run.findings.findings.map(({ verdict }) => verdict);
  const { check } = run.findings;
  const link =
    check &&
    `${check.rttMs.toFixed(2)} ms, p99 +${(check.p99Ms - check.rttMs).toFixed(2)} (${check.answered} of ${check.sent} echoes)`;
  const facts = [
    ...conditionsText(run),
    ["link measured", link ?? (run.over === "loopback" ? "loopback: nothing is said about delay" : "not measured")],
    ["run", `${run.startedAt.replace("T", " ").replace(/\.\d+Z$/, " UTC")}, took ${(run.tookMs / 1_000).toFixed(1)} s`],
    ...Object.entries(run.versions),
  ] as const;
  const cells = facts.map(([name, value]) => `<div><dt>${safe(name)}</dt><dd>${safe(value)}</dd></div>`);
  return `<header><p class="over">backtalk lab · ${safe(run.experiment)}${run.variant === undefined ? "" : ` · ${safe(run.variant)}`}</p>
<h1>${safe(title)}</h1><p class="lead">${safe(run.question)}</p>
<p>${summary(verdicts)}</p>
<dl class="facts">${cells.join("")}</dl></header>`;
}

function summary(verdicts: readonly Verdict[]): string {
  const counts = (["ok", "failed", "refused"] as const).map(
    (each) => [each, verdicts.filter((one) => one === each).length] as const,
  );
  const parts = counts.filter(([, count]) => count > 0).map(([each, count]) => badge(each, `${count} ${each}`));
  return parts.length === 0 ? badge("none", "nothing was judged") : parts.join(" ");
}

function explanations({ findings: { findings } }: Run): string {
  const told = explained(findings);
  if (told.length === 0) return "";
  const articles = told.map(({ names, source, explain }) => {
    const clause = source === undefined ? "" : ` <span class="source">${linked(source)}</span>`;
    return `<article><h3>${safe(names.join(" · "))}${clause}</h3>${explain === undefined ? "" : `<p>${linked(explain)}</p>`}</article>`;
  });
  return `<section class="explain"><h2>Why it is so</h2>${articles.join("\n")}</section>`;
}

/** `RFC 9293 §3.7.4` as a link to that section. */
function linked(text: string): string {
  return safe(text).replace(/RFC (\d{3,5})(?: §(\d+(?:\.\d+)*))?/g, (whole, number: string, section?: string) => {
    const place = section === undefined ? "" : `#section-${section}`;
    return `<a href="https://www.rfc-editor.org/rfc/rfc${number}.html${place}">${whole}</a>`;
  });
}

function plots({ findings: { plots = [] } }: Run): string {
  if (plots.length === 0) return "";
  return `<section><h2>Plots</h2>${plots.map((plot, index) => plotFigure(plot, `plot${index}`)).join("\n")}</section>`;
}

function ladderSection({ captures }: RunDocument, ladders: readonly Ladder[]): string {
  if (ladders.length === 0) return "";
  let left = MOST_IN_ALL;
  const data = ladders.map((ladder, index) => {
    const most = Math.min(MOST_PACKETS, left);
    left -= Math.min(most, ladder.rungs.length);
    return pageLadder(ladder, captures[index]?.file ?? null, most);
  });
  const options = ladders.map(({ name }, index) => `<option value="${index}">${safe(name)}</option>`);
  const kinds = [
    ["k-open", "open and close"],
    ["k-handshake", "handshake"],
    ["k-data", "data"],
    ["k-ack", "acknowledgement"],
    ["again", "sent again"],
    ["lost", "lost"],
  ].map(([kind, text]) => `<li class="${kind}">${text}</li>`);
  return `<section id="ladder"><h2>Packets</h2>
<div class="ladder-box" hidden><div class="ladder-bar">
<select name="capture" aria-label="capture"${ladders.length < 2 ? " hidden" : ""}>${options.join("")}</select>
<select name="flow" aria-label="connection"></select>
<fieldset class="modes" aria-label="what a step down is"><label><input type="radio" name="mode" value="order" checked>by order</label><label><input type="radio" name="mode" value="time">by time</label></fieldset>
<button type="button" data-do="out" aria-label="zoom out">−</button><button type="button" data-do="in" aria-label="zoom in">+</button>
<button type="button" data-do="loss">next loss</button><span class="ladder-count"></span></div>
<div class="ladder-frame"><svg class="ladder-head" role="presentation"></svg>
<div class="ladder" tabindex="0" role="group" aria-label="packet ladder: arrow keys go from packet to packet"><div class="ladder-space"><svg role="presentation"></svg></div></div>
<div class="ladder-detail" aria-live="polite"></div></div>
<ul class="ladder-legend">${kinds.join("")}</ul></div>
<details class="texts"><summary>the packets as text</summary>${ladders.map(asText).join("\n")}</details>
<script type="application/json" id="ladders">${escapeJson(data)}</script></section>`;
}

function asText(ladder: Ladder): string {
  const lines = ladderText(ladder, { most: MOST_LINES });
  return `<details><summary>${safe(ladder.name)}</summary><pre tabindex="0">${safe(lines.join("\n"))}</pre></details>`;
}

function notes({ findings: { notes = [] } }: Run): string {
  return notes.length === 0
    ? ""
    : `<section><h2>Notes</h2>${notes.map((note) => `<p>${linked(note)}</p>`).join("")}</section>`;
}

function footer(run: Run, { captures, findings }: RunDocument): string {
  const files = captures.flatMap(({ file }) => (file === null ? [] : [file]));
  const beside =
    files.length === 0
      ? ""
      : ` Packets for Wireshark: ${files.map((file) => `<a href="${encodeURIComponent(file)}">${safe(file)}</a>`).join(", ")}.`;
  return `<footer>Verdict: ${worst(findings.map(({ verdict }) => verdict))}. The same in numbers: <a href="run.json">run.json</a>.${beside} Done again by <code>${safe(againText(run))}</code>.</footer>`;
}

/** The command that does it again. */
export function againText({ experiment, variant, conditions, over }: Run): string {
  const { rttMs, runs, seed, congestion } = conditions;
  const own = [`--runs ${runs}`, `--seed ${seed}`];
  // Over loopback there is no link that could have any.
  const given = over === "loopback" ? own : [`--rtt ${rttMs}ms`, ...own, `--congestion ${congestion}`];
  const { loss, jitterMs, rateBps, queueBytes, reorder, duplicate, drops } = conditions;
  if (loss) given.push(`--loss ${typeof loss === "number" ? loss : `burst:${loss.toBad}:${loss.toGood}`}`);
  if (jitterMs) given.push(`--jitter ${jitterMs}ms`);
  if (rateBps !== undefined) given.push(`--rate ${rateBps}bit`);
  if (queueBytes !== undefined) given.push(`--queue ${queueBytes}`);
  if (reorder) given.push(`--reorder ${reorder}`);
  if (duplicate) given.push(`--duplicate ${duplicate}`);
  for (const drop of drops) given.push(`--drop '${dropText(drop)}'`);
  return ["backtalk lab", experiment, ...(variant === undefined ? [] : [`--variant ${variant}`]), ...given].join(" ");
}
