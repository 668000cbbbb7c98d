/** Whether it is a Backtalk server: it describes itself at /openapi.json, and says at /healthz that it is there. */
import { absent, type Finding, found } from "../finding.ts";
import { type Answer, Http1 } from "../http1.ts";
import { reasonOf } from "../reason.ts";
import type { Setting } from "../setting.ts";

/** Where it describes itself: a GET that is there, changes nothing, and needs no credential. */
export const DESCRIPTION = "/openapi.json";

/** Of an answer that there is nothing: the type of its problem (RFC 9457 §3.1.1) is one of Backtalk. */
export function isBacktalkFault({ status, body }: Answer): boolean {
  return status === 404 && jsonOf<{ type: unknown }>(body)?.type === "urn:backtalk:fault:not_found";
}

/** The events of a topic, which a GET reads: a stream that is there without a call. */
export function streamOf({ body }: Answer): string | undefined {
  const paths = Object.keys(jsonOf<Described>(body)?.paths ?? {});
  return paths.find((path) => /^\/topics\/[\w.-]+$/.test(path));
}

interface Described {
  readonly paths: Readonly<Record<string, object>>;
}

function jsonOf<T extends object>(body: Uint8Array): Partial<T> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString());
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

export async function backtalk(setting: Setting, isTls: boolean): Promise<Finding> {
  let http: Http1 | undefined;
  try {
    http = await Http1.open(setting, isTls);
    const health = await http.ask({ path: "/healthz", what: "backtalk" });
    if (!health.isKept) {
      http.close();
      http = await Http1.open(setting, isTls);
    }
    const answer = await http.ask({ path: DESCRIPTION, what: "backtalk" });
    if (answer.status !== 200)
      return absent("backtalk", { code: "http_status", detail: String(answer.status) }, "at /openapi.json");
    const methods = methodsOf(answer.body);
    if (methods === undefined) return absent("backtalk", { code: "not_offered" }, "/openapi.json is of something else");
    const names = methods.length === 0 ? "" : `: ${methods.slice(0, 4).join(", ")}`;
    const more = methods.length > 4 ? ` and ${methods.length - 4} more` : "";
    return found(
      "backtalk",
      `${methods.length} ${methods.length === 1 ? "method" : "methods"}${names}${more}; /healthz ${health.status}`,
      {
        facts: { methods, healthz: health.status },
        phases: answer.phases,
      },
    );
  } catch (thrown) {
    return absent("backtalk", reasonOf(thrown));
  } finally {
    http?.close();
  }
}

/** The methods of the contract, marked with their kind, without those that every server has. Undefined without a mark. */
function methodsOf(body: Uint8Array): string[] | undefined {
  const own = Object.entries(jsonOf<Described>(body)?.paths ?? {}).filter(([, item]) => {
    return JSON.stringify(item).includes('"x-backtalk-kind"');
  });
  return own.length === 0
    ? undefined
    : own.map(([path]) => path.slice(1)).filter((name) => !name.startsWith("backtalk/"));
}
