/**
 * The page at `/docs`: Swagger UI over `/openapi.json`. All that it needs comes from this server, and it runs
 * under a policy (CSP) that lets it load nothing else.
 */
import { Fault } from "../log/fault.ts";

/** The files of Swagger UI by their names; read when they are first asked for. */
export type Page = ReadonlyMap<string, Blob>;

export const PAGE_FILES = ["swagger-ui-bundle.js", "swagger-ui.css"] as const;

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const HEADERS = { "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" };

/** Answers what comes after `/docs`. @throws Fault `not_found` */
export function pageOf(
  page: Page,
  title: string,
  links: readonly string[],
): (path: string, encodings: string) => Answer {
  const texts = new Map([
    ["/page.js", [SCRIPT, "text/javascript; charset=utf-8"]],
    ["/page.css", [STYLE, "text/css; charset=utf-8"]],
  ]);
  const zipped = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  return (path, encodings) => {
    if (path === "") {
      const headers = { ...HEADERS, "content-security-policy": POLICY, "cache-control": "no-cache" };
      return new Response(html(title, links), { headers: { ...headers, "content-type": "text/html; charset=utf-8" } });
    }
    // The names of the page are relative, so that it works behind a proxy that puts something before them.
    if (path === "/") return new Response(null, { status: 308, headers: { location: "../docs" } });
    const text = texts.get(path);
    if (text)
      return new Response(text[0], { headers: { ...HEADERS, "cache-control": "no-cache", "content-type": text[1]! } });
    const name = path.slice(1);
    const file = page.get(name);
    if (!file)
      throw new Fault("not_found", `there is nothing at /docs${path.slice(0, 128)}`, { hint: "the page is at /docs" });
    return big(name, file, encodings, zipped);
  };
}

type Answer = Response | Promise<Response>;

/** A seventh of the bytes, made once. */
async function big(
  name: string,
  file: Blob,
  encodings: string,
  zipped: Map<string, Promise<Uint8Array<ArrayBuffer>>>,
): Promise<Response> {
  const type = name.endsWith(".css") ? "text/css; charset=utf-8" : "text/javascript; charset=utf-8";
  const headers = { ...HEADERS, "content-type": type, "cache-control": "max-age=3600", vary: "accept-encoding" };
  if (!/\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|\s|$))/.test(encodings))
    return new Response(await file.bytes(), { headers });
  const made = zipped.get(name) ?? file.bytes().then((bytes) => Bun.gzipSync(bytes));
  zipped.set(name, made);
  return new Response(await made, { headers: { ...headers, "content-encoding": "gzip" } });
}

function html(title: string, links: readonly string[]): string {
  const anchors = links.map((link) => `<a href="${escaped(link)}">${escaped(link.split("/").at(-1)!)}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/page.css">
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/page.js" defer></script>
</head>
<body>
<nav aria-label="Descriptions">${anchors.join("\n")}</nav>
<main id="page"><noscript>This page needs JavaScript; the descriptions above do not.</noscript></main>
</body>
</html>
`;
}

const SCRIPT = `const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();
SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("page"),
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
`;

const STYLE = `body { margin: 0; background: #fff; }
html.dark-mode, html.dark-mode body { background: #1c2022; }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; max-width: 1420px; box-sizing: border-box; margin: 0 auto;
  padding: 0.75rem 20px; font: 14px/1.5 system-ui, sans-serif; }
nav a { color: #1f5fbf; padding: 0.125rem 0; }
html.dark-mode nav a { color: #8ab4f8; }
noscript { display: block; padding: 20px; font: 16px/1.5 system-ui, sans-serif; }
.swagger-ui .info { margin: 20px 0; }
.swagger-ui .info hgroup.main > a { display: none; }
.swagger-ui .scheme-container:not(:has(.auth-wrapper)) { display: none; }
.swagger-ui .scheme-container .schemes .schemes-server-container { display: none; }
html.dark-mode .swagger-ui .headers td { color: #e4e6e6; }
@media (max-width: 640px) {
  .swagger-ui .wrapper { padding: 0 12px; }
  nav { padding: 0.75rem 12px; }
  .swagger-ui .opblock .opblock-summary-control { flex-wrap: nowrap; min-width: 0; }
  .swagger-ui .opblock .opblock-summary-path-description-wrapper { flex: 1; min-width: 0; }
  .swagger-ui .opblock .opblock-summary-path { max-width: 100%; overflow-wrap: anywhere; }
  .swagger-ui .parameters-col_description input, .swagger-ui .parameters-col_description textarea { max-width: 100%; }
  .swagger-ui table { display: block; overflow-x: auto; }
  .swagger-ui .scheme-container .schemes { flex-wrap: wrap; gap: 12px; }
}
`;

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
