/** What a server does with connections and bodies: keep-alive and its idle time, HSTS, compression. */
import { brotliDecompressSync, constants, gunzipSync, zstdDecompressSync } from "node:zlib";
import { absent, type Finding, found, notTried } from "../finding.ts";
import { type Answer, type Fields, field, Http1 } from "../http1.ts";
import { Absent, reasonOf } from "../reason.ts";
import type { Setting } from "../setting.ts";

/** RFC 6797 §6.1, of an answer over TLS. */
export function hsts(answer: { readonly fields: Fields }): Finding {
  const value = field(answer, "strict-transport-security");
  if (value === undefined) return absent("hsts", { code: "not_offered" }, "no such field");
  const seconds = Number(/max-age\s*=\s*"?(\d+)/i.exec(value)?.[1] ?? Number.NaN);
  if (Number.isNaN(seconds))
    return absent("hsts", { code: "malformed", detail: value.slice(0, 60) }, "without max-age");
  // §6.1.1: zero takes it back.
  if (seconds === 0) return absent("hsts", { code: "not_offered" }, "max-age=0 takes it back");
  return found("hsts", value.slice(0, 120), {
    facts: { maxAgeSeconds: seconds, hasSubDomains: /includeSubDomains/i.test(value) },
  });
}

/** On the connection of the first request, then the codings on the same one as long as it is kept. */
export async function reuse(setting: Setting, isTls: boolean, first: Answer, http: Http1): Promise<Finding[]> {
  let current: Http1 | undefined = first.isKept ? http : undefined;
  if (!first.isKept) http.close();
  const findings: Finding[] = [];
  const again = async (fields: readonly (readonly [string, string])[], what: string): Promise<Answer> => {
    current ??= await Http1.open(setting, isTls);
    const asked = current;
    current = undefined;
    try {
      const answer = await asked.ask({ fields, what });
      if (answer.isKept) current = asked;
      return answer;
    } finally {
      if (!current) asked.close();
    }
  };
  try {
    findings.push(await keepAlive(first, () => again([], "keep-alive")));
    for (const name of ["gzip", "br", "zstd"] as const) {
      findings.push(
        await compression(name, () => again([["accept-encoding", name]], name)).catch((thrown) =>
          absent(name, reasonOf(thrown)),
        ),
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
  // A connection is free for the next request when the answer has ended.
  if (first.isCut) return notTried("keep-alive", "the answer was not read to its end");
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

/** The decoder, and the flush with which it gives what there is of a body that was cut. */
const CODINGS = {
  gzip: [gunzipSync, constants.Z_SYNC_FLUSH],
  br: [brotliDecompressSync, constants.BROTLI_OPERATION_FLUSH],
  zstd: [zstdDecompressSync, constants.ZSTD_e_flush],
} as const;
/** A small body can be decoded to a very large one; this much of it shows that it can be. */
const MOST_PLAIN_BYTES = 16 * 1024 * 1024;

/** How many bytes the body stands for; undefined when more than `MOST_PLAIN_BYTES`. @throws Absent */
function plainBytes(name: keyof typeof CODINGS, { body, isCut }: Answer): number | undefined {
  const [decode, flush] = CODINGS[name];
  try {
    return decode(body, { maxOutputLength: MOST_PLAIN_BYTES, ...(isCut && { finishFlush: flush }) }).length;
  } catch (thrown) {
    if ((thrown as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") return undefined;
    throw new Absent("malformed", `it says Content-Encoding: ${name}, and the body is something else`);
  }
}

/** Used means: the field says so, and the body can be decoded. */
async function compression(name: keyof typeof CODINGS, ask: () => Promise<Answer>): Promise<Finding> {
  const answer = await ask();
  const { body, isCut } = answer;
  if (body.length === 0) {
    return notTried(name, isCut ? "the answer is a stream" : `status ${answer.status} came without a body`);
  }
  const used = field(answer, "content-encoding")?.toLowerCase();
  const type = field(answer, "content-type")?.split(";")[0] ?? "no type";
  const size = body.length.toLocaleString("en");
  if (used !== name) {
    const how = used === undefined ? "as they are" : `as ${used}`;
    const text = `asked for it, and the ${size}${isCut ? "+" : ""} bytes of ${type} came ${how}`;
    return absent(name, { code: "not_offered" }, text);
  }
  const plain = plainBytes(name, answer);
  const bytes = plain === undefined ? "more than 16 MiB" : `${plain.toLocaleString("en")} bytes`;
  const text = `used: ${bytes} of ${type} came as ${size}${isCut ? ", which is not all of it" : ""}`;
  return found(name, text, { facts: { bytes: body.length, plainBytes: plain ?? null, isCut } });
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
    const text = isOpen ? "with a last word" : "";
    return absent("idle", { code: "closed", detail: `after ${seconds.toFixed(1)} s` }, text, {
      facts: { isStillOpen: false, seconds },
    });
  } catch (thrown) {
    return absent("idle", reasonOf(thrown));
  } finally {
    http?.close();
  }
}
