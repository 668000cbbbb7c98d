import { connectionsOf } from "../../capture/segments.ts";
import { clientLink } from "../../conditions.ts";
import type { Capture, Experiment, Finding } from "../../experiment.ts";
import type { Answered } from "./client.ts";
import type { Ran } from "./server.ts";

/** Shorter than the time in which TCP would mend the loss by itself: the second retransmission comes after 600 ms. */
const PER_TRY_MS = 350;
/** Where no TCP mends anything it may be longer, so that a busy machine is not taken for a loss. */
const PER_TRY_LOOPBACK_MS = 1_000;
const JSON_TYPE = { "content-type": "application/json" };

const WAYS = [
  {
    name: "POST without a key",
    method: "POST",
    path: "/blog/comment",
    headers: JSON_TYPE,
    body: JSON.stringify({ text: "first!" }),
    effects: 2,
    expected: "two comments",
    source: "RFC 9110 §9.2.2",
    explain:
      "The request arrived and was done; only its answer was lost. The proxy cannot tell that from a request that never arrived, and tries again: POST is not idempotent, and the comment is there twice. RFC 9110 §9.2.2 forbids a proxy to repeat such a request by itself; many are set up to do it.",
  },
  {
    name: "POST with Idempotency-Key",
    method: "POST",
    path: "/blog/comment",
    headers: { ...JSON_TYPE, "idempotency-key": '"comment-1"' },
    body: JSON.stringify({ text: "first!" }),
    effects: 1,
    expected: "one comment",
    source: "draft-ietf-httpapi-idempotency-key-header",
    explain:
      "The caller names its call, and the same name is the same call: the second request finds the first one's record and is answered from it (Idempotency-Replayed: true). The handler ran once.",
  },
  {
    name: "GET of a safe method",
    method: "GET",
    path: "/blog/list",
    headers: {},
    body: null,
    effects: 2,
    expected: "runs twice, changes nothing",
    source: "RFC 9110 §9.2.1",
    explain: "A safe method may run as often as anybody likes: it has no effect, so repeating it is only work.",
  },
] as const;

export const idempotency: Experiment = {
  name: "idempotency",
  title: "a proxy that retries when an answer is lost",
  question: "How often is a comment posted when a proxy on the way tries again?",
  defaults: { rttMs: 20, runs: 1 },
  overLoopback: { columns: ["ran", "requests", "tries", "replayed"] },
  async run({ conditions, network, over, progress }) {
    const { congestion } = conditions;
    const perTryMs = over === "network" ? PER_TRY_MS : PER_TRY_LOOPBACK_MS;
    const link = { ...clientLink(conditions), congestion };
    const net = await network!({ hosts: { client: link, proxy: { congestion }, server: { congestion } } });
    try {
      const [client, proxy, server] = ["client", "proxy", "server"].map((name) => net.hosts[name]!);
      const [asker, between, answerer] = await Promise.all([
        client!.start(new URL("./client.ts", import.meta.url)),
        proxy!.start(new URL("./proxy.ts", import.meta.url)),
        server!.start(new URL("./server.ts", import.meta.url)),
      ]);
      const port = await answerer.call<number>("serve", server!.address);
      const upstream = `http://${server!.address}:${port}`;
      const url = `http://${proxy!.address}:${await between.call<number>("serve", proxy!.address, upstream, perTryMs)}`;
      const findings: Finding[] = [];
      const captures: Capture[] = [];
      for (const { name, method, path, headers, body, effects, ...way } of WAYS) {
        progress(name);
        await net.capture();
        // The answer, and its retransmission after 200 ms; those of the second try pass. Where nothing can be lost, the
        // first answer comes too late, which is the same to the proxy.
        if (over === "loopback") await answerer.call("keepBack", 2 * perTryMs);
        else await net.setDrops([{ host: "server", of: "data", first: 1, last: 2 }]);
        const answer = await asker.call<Answered>("ask", `${url}${path}`, method, headers, body);
        await net.setDrops([]);
        const seen = await net.capture();
        const ran = await answerer.call<Ran>("ran");
        const times = method === "GET" ? ran.reads : ran.comments;
        // Connections of the proxy to the server on which a request was sent.
        const captured = connectionsOf(seen).filter(({ other, segments }) => {
          return other.endsWith(`:${port}`) && segments.some(({ isOpener, tcp }) => isOpener && tcp.payload.length > 0);
        }).length;
        const dropped = seen.filter(({ drop }) => drop === "rule").length;
        const isSound = answer.status === 200 && captured === 2 && dropped >= 1;
        const isTwice = answer.status === 200 && ran.requests === 2 && answer.tries === 2;
        const often = times === 1 ? "once" : `${times} times`;
        findings.push({
          name,
          values: {
            ran: times,
            requests: ran.requests,
            tries: answer.tries,
            replayed: answer.isReplayed ? "yes" : "no",
          },
          verdict: !isSound ? "refused" : times === effects ? "ok" : "failed",
          why: isSound
            ? `the wire lost ${dropped} segments of the first answer; ${captured} requests reached the server, and its handler ran ${often}`
            : `it did not happen as meant: status ${answer.status}, ${captured} requests, ${dropped} drops`,
          capture: name,
          counted: {
            verdict: !isTwice ? "refused" : times === effects ? "ok" : "failed",
            why: isTwice
              ? `the first answer came too late for the proxy; ${ran.requests} requests reached the server, and its handler ran ${often}`
              : `it did not happen as meant: status ${answer.status}, ${ran.requests} requests`,
          },
          ...way,
        });
        captures.push({ name, hosts: [client!, proxy!, server!], seen });
      }
      return {
        columns: [
          { key: "ran", title: "handler ran", unit: "count" },
          { key: "requests", title: "requests", unit: "count", what: "that reached the server" },
          { key: "tries", title: "tries", unit: "count", what: "of the proxy" },
          { key: "replayed", title: "replayed", unit: "text", what: "the answer came from the record" },
        ],
        findings,
        check: net.check,
        captures,
        notes: [`The proxy gives each try ${perTryMs} ms; the client asks once and sees one answer.`],
      };
    } finally {
      await net.stop();
    }
  },
};
