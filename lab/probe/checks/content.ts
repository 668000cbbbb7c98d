/** What a server does with connections and bodies: keep-alive and its idle time, HSTS, compression. */
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { absent, type Finding, found, notTried } from "../finding.ts";
import { type Answer, field, Http1 } from "../http1.ts";
import { Absent, reasonOf } from "../reason.ts";
import type { Setting } from "../setting.ts";

/** RFC 6797 §6.1; it means nothing without TLS (§7.2). */
export function hsts(answer: Answer, isTls: boolean): Finding {
  if (!isTls) return notTried("hsts", "it means nothing without TLS");
  const value = field(answer, "strict-transport-security");
  if (value === undefined) return absent("hsts", { code: "not_offered" }, "no such field");
  const seconds = Number(/max-age\s*=\s*"?(\d+)/i.exec(value)?.[1] ?? Number.NaN);
  if (Number.isNaN(seconds))
    return absent("hsts", { code: "malformed", detail: value.slice(0, 60) }, "without max-age");
  // §6.1.1: zero takes it back.
  if (seconds === 0) return absent("hsts", { code: "not_offered" }, "max-age=0 takes it back");
  return found("hsts", value, { facts: { maxAgeSeconds: seconds, hasSubDomains: /includeSubDomains/i.test(value) } });
}

/** On the connection of the first request, then the codings on the same one as long as it is kept. */
export async function reuse(setting: Setting, isTls: boolean, first: Answer, http: Http1): Promise<Finding[]> {
  let current: Http1 | undefined = first.isKept ? http : undefined;
  if (!first.isKept) http.close();
  const findings: Finding[] = [];
  const again = async (fields: readonly (readonly [string, string])[], what: string): Promise<Answer> => {
    current ??= await Http1.open(setting, isTls);
    const answer = await current.ask({ fields, what });
    if (!answer.isKept) {
      current.close();
      current = undefined;
    }
    return answer;
  };
  try {
    findings.push(await keepAlive(first, () => again([], "keep-alive")));
    for (const name of ["gzip", "br", "zstd"] as const) {
      findings.push(
        await compression(name, () => again([["accept-encoding", name]], name)).catch((thrown) => {
          current?.close();
          current = undefined;
          return absent(name, reasonOf(thrown));
        }),
      );
    }
  } finally {
    current?.close();
    http.close();
  }
  return findings;
}

async function keepAlive(first: Answer, again: () => Promise<Answer>): Promise<Finding> {
  const claim = field(first, "keep-alive");
  if (!first.isKept) {
    const says = field(first, "connection");
    const text = says ? `it says Connection: ${says}` : "the connection was over with the answer";
    return absent("keep-alive", { code: "not_offered" }, text);
  }
  try {
    const { phases } = await again();
    const text = `a second answer on the same connection${claim === undefined ? "" : `; it says Keep-Alive: ${claim}`}`;
    return found("keep-alive", text, { phases, facts: { claim } });
  } catch (thrown) {
    return absent("keep-alive", reasonOf(thrown), "the first answer let expect a second one");
  }
}

const DECODE = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync } as const;

/** Used means: the field says so, and the body can be decoded. */
async function compression(name: keyof typeof DECODE, ask: () => Promise<Answer>): Promise<Finding> {
  const answer = await ask();
  const { body, isCut } = answer;
  const used = field(answer, "content-encoding")?.toLowerCase();
  const type = field(answer, "content-type")?.split(";")[0] ?? "no type";
  const size = body.length.toLocaleString("en");
  if (used !== name) {
    const how = used === undefined ? "as they are" : `as ${used}`;
    const text = `asked for it, and the ${size}${isCut ? "+" : ""} bytes of ${type} came ${how}`;
    return absent(name, { code: "not_offered" }, text);
  }
  if (isCut) return found(name, `used for more than ${size} bytes of ${type}`, { facts: { bytes: body.length } });
  let plain: Uint8Array;
  try {
    plain = DECODE[name](body);
  } catch {
    throw new Absent("malformed", `it says Content-Encoding: ${name}, and the body is something else`);
  }
  const text = `used: ${plain.length.toLocaleString("en")} bytes of ${type} came as ${size}`;
  return found(name, text, { facts: { bytes: body.length, plainBytes: plain.length } });
}

/** How long a connection without a request is kept; it is watched for so long and no longer. */
export async function idle(setting: Setting, isTls: boolean, idleMs: number): Promise<Finding> {
  if (idleMs === 0) return notTried("idle", "it takes its time (--idle 15s watches for so long)");
  let http: Http1 | undefined;
  try {
    http = await Http1.open(setting, isTls);
    const { isKept } = await http.ask({ what: "idle" });
    if (!isKept) return absent("idle", { code: "not_offered" }, "connections are not kept");
    const since = performance.now();
    const isOpen = await http.pipe.more(since + idleMs).catch((thrown) => {
      const { code } = reasonOf(thrown);
      if (code === "timeout") return undefined;
      if (code === "reset") return false;
      throw thrown;
    });
    const seconds = (performance.now() - since) / 1000;
    if (isOpen === undefined) {
      return found("idle", `still open after ${(idleMs / 1000).toFixed(1)} s, as long as it was watched`, {
        facts: { isStillOpen: true, seconds: idleMs / 1000 },
      });
    }
    // RFC 9110 §15.5.9: some say 408 before they close.
    const text = `closed after ${seconds.toFixed(1)} s${isOpen ? ", with a last word" : ""}`;
    return absent("idle", { code: "closed", detail: `after ${seconds.toFixed(1)} s` }, text, {
      facts: { isStillOpen: false, seconds },
    });
  } catch (thrown) {
    return absent("idle", reasonOf(thrown));
  } finally {
    http?.close();
  }
}
