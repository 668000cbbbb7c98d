/** The operator's addresses (PROTOCOL.md §2.9). */
import type { Host } from "../../contract/index.ts";
import { openapi } from "../../describe/openapi.ts";

const NO_STORE = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** `/healthz`: the process answers. */
export function health(): Response {
  return Response.json({ status: "ok" }, { headers: NO_STORE });
}

/** `/readyz`: calls are accepted. */
export function ready(host: Host): Response {
  const reasons = [...host.unready()];
  if (host.draining.aborted && reasons.length === 0) reasons.push("the server is draining");
  const isReady = reasons.length === 0;
  const headers = isReady ? NO_STORE : { ...NO_STORE, "retry-after": "1" };
  return Response.json({ ready: isReady, reasons }, { status: isReady ? 200 : 503, headers });
}

/** `/metrics`: Prometheus text exposition format 0.0.4. */
export function metrics(host: Host): Response {
  return new Response(host.metrics.text(), {
    headers: { ...NO_STORE, "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  });
}

/** `/openapi.json`, made when it is first asked for. */
export function description(host: Host, title: string, version: string): () => Response {
  let text: string | undefined;
  return () => {
    text ??= JSON.stringify(openapi(host.contract, { title, version, isAnonymous: host.anonymous }));
    return new Response(text, {
      headers: { "content-type": "application/json", "cache-control": "no-cache", "x-content-type-options": "nosniff" },
    });
  };
}
