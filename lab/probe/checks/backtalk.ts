/** Whether it is a Backtalk server: it describes itself at /openapi.json, and says at /healthz that it is there. */
import { absent, type Finding, found } from "../finding.ts";
import { Http1 } from "../http1.ts";
import { reasonOf } from "../reason.ts";
import type { Setting } from "../setting.ts";

export async function backtalk(setting: Setting, isTls: boolean): Promise<Finding> {
  let http: Http1 | undefined;
  try {
    http = await Http1.open(setting, isTls);
    const health = await http.ask({ path: "/healthz", what: "backtalk" });
    if (!health.isKept) {
      http.close();
      http = await Http1.open(setting, isTls);
    }
    const answer = await http.ask({ path: "/openapi.json", what: "backtalk" });
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
  try {
    const { paths } = JSON.parse(Buffer.from(body).toString()) as { paths: Record<string, object> };
    const own = Object.entries(paths).filter(([, item]) => JSON.stringify(item).includes('"x-backtalk-kind"'));
    return own.length === 0
      ? undefined
      : own.map(([path]) => path.slice(1)).filter((name) => !name.startsWith("backtalk/"));
  } catch {
    return undefined;
  }
}
