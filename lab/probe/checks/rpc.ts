/** gRPC (over HTTP/2) and Connect (over HTTP/1.1), by their health service: a question that changes nothing. */
import { CODES } from "../../../src/log/index.ts";
import { absent, type Finding, found, notTried } from "../finding.ts";
import { field, Http1 } from "../http1.ts";
import { type Answer2, Http2 } from "../http2.ts";
import { Absent, reasonOf } from "../reason.ts";
import type { Setting } from "../setting.ts";

const HEALTH = "/grpc.health.v1.Health/Check";
const REFLECTION = [
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
] as const;
const UNIMPLEMENTED = 12;
const UNABLE = { code: "grpc_status", detail: "unimplemented" } as const;

/**
 * Both on one connection. `getStatus`: how a GET over HTTP/2 was answered. A server of gRPC refuses by 415 what is
 * of another type; a gateway, which may answer calls in gRPC too, does not.
 */
export async function grpc(setting: Setting, isTls: boolean, getStatus: number | undefined): Promise<Finding[]> {
  const names = ["grpc", "grpc-health", "grpc-reflection"] as const;
  let http: Http2 | undefined;
  try {
    http = await Http2.open(setting, isTls);
    const health = await call(http, HEALTH, new Uint8Array(), "grpc-health");
    if (!health.isGrpc) {
      const reason = health.reason!;
      return [absent("grpc", reason), ...names.slice(1).map((name) => notTried(name, "gRPC is not spoken"))];
    }
    const listed = await reflection(http);
    const more = {
      facts: { contentType: health.type, status: health.status, message: health.says },
      phases: health.phases,
    };
    // A gateway that has none of it answers so too: what was not seen to work is not there.
    const isRefusing = getStatus === 415;
    const hasWorked = health.status !== UNIMPLEMENTED || listed.isPresent || isRefusing;
    const says = health.says === undefined ? "" : `: ${health.says}`;
    const spoken = hasWorked
      ? found("grpc", `it answers ${health.type}${isRefusing ? ", and refuses other types by 415" : ""}${says}`, more)
      : absent("grpc", UNABLE, `it answers in gRPC, but nothing in it was seen to work${says}`, more);
    return [spoken, healthFinding(health), listed];
  } catch (thrown) {
    const reason = reasonOf(thrown);
    return names.map((name) => absent(name, reason));
  } finally {
    http?.close();
  }
}

interface Called {
  readonly isGrpc: boolean;
  /** Of what is no gRPC. */
  readonly reason?: ReturnType<typeof reasonOf>;
  readonly type: string;
  readonly status: number | undefined;
  /** Of `grpc-message`. */
  readonly says: string | undefined;
  readonly message: Uint8Array | undefined;
  readonly phases: Answer2["phases"];
}

async function call(http: Http2, path: string, message: Uint8Array, what: string): Promise<Called> {
  const body = Buffer.alloc(5 + message.length);
  body.writeUInt32BE(message.length, 1);
  body.set(message, 5);
  const fields = [
    ["content-type", "application/grpc+proto"],
    ["te", "trailers"],
    ["grpc-timeout", "5S"],
  ] as const;
  const answer = await http.ask({ method: "POST", path, fields, body, what });
  const type = field(answer, "content-type") ?? "";
  const said = field({ fields: answer.trailers }, "grpc-status") ?? field(answer, "grpc-status");
  const status = said === undefined ? undefined : Number(said);
  const says = field({ fields: answer.trailers }, "grpc-message") ?? field(answer, "grpc-message");
  const isGrpc = /^application\/grpc(\+|;|$)/.test(type) && answer.status === 200;
  const got =
    answer.body.length >= 5 ? answer.body.subarray(5, 5 + Buffer.from(answer.body).readUInt32BE(1)) : undefined;
  const reason = isGrpc ? undefined : reasonOf(notGrpc(answer.status, type));
  return {
    isGrpc,
    ...(reason && { reason }),
    type,
    status,
    says: says && percentDecoded(says),
    message: got,
    phases: answer.phases,
  };
}

/** Of a message of gRPC; one that is written wrong is shown as it came. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text).slice(0, 200);
  } catch {
    return text.slice(0, 200);
  }
}

function notGrpc(status: number, type: string): Absent {
  return status === 200
    ? new Absent("malformed", `it answers ${type || "no type"}`)
    : new Absent("http_status", status);
}

function healthFinding({ status, message, phases }: Called): Finding {
  if (status !== 0) {
    const text = status === UNIMPLEMENTED ? "the server has no such service" : "";
    return absent("grpc-health", { code: "grpc_status", detail: statusName(status) }, text);
  }
  // HealthCheckResponse: field 1 is the status, 0 when it is left out.
  const value = message && message[0] === 0x08 ? message[1]! : 0;
  const name = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"][value] ?? String(value);
  return found("grpc-health", name, { facts: { health: name }, phases });
}

async function reflection(http: Http2): Promise<Finding> {
  let last: Called | undefined;
  for (const path of REFLECTION) {
    try {
      // ServerReflectionRequest: field 7, list_services, a text that is ignored.
      last = await call(http, path, Uint8Array.of(0x3a, 0x00), "grpc-reflection");
    } catch (thrown) {
      return absent("grpc-reflection", reasonOf(thrown));
    }
    if (last.status !== 0 || !last.message) continue;
    const services = listedServices(last.message);
    if (!services) return absent("grpc-reflection", { code: "malformed", detail: "no list of services" });
    const version = path.split(".")[2];
    const text = `${version}: ${services.length} services: ${services.join(", ")}`;
    return found("grpc-reflection", text, { facts: { services, version }, phases: last.phases });
  }
  return absent("grpc-reflection", { code: "grpc_status", detail: statusName(last!.status) });
}

/** ServerReflectionResponse: field 6, the list; in it field 1, a service; in it field 1, its name. */
export function listedServices(message: Uint8Array): string[] | undefined {
  const list = fieldsOf(message).find(({ number }) => number === 6);
  if (!list) return undefined;
  return fieldsOf(list.bytes).flatMap(({ number, bytes }) =>
    number === 1
      ? fieldsOf(bytes).flatMap((each) => (each.number === 1 ? [Buffer.from(each.bytes).toString()] : []))
      : [],
  );
}

/** The fields of a message of Protocol Buffers that have bytes; others are passed over, what is cut ends it. */
function fieldsOf(message: Uint8Array): { readonly number: number; readonly bytes: Uint8Array }[] {
  const fields: { number: number; bytes: Uint8Array }[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; at < message.length; shift *= 128) {
      const byte = message[at++]!;
      value += (byte & 127) * shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < message.length) {
    const key = varint();
    const kind = key & 7;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      fields.push({ number: Math.floor(key / 8), bytes: message.subarray(at, at + length) });
      at += length;
    } else break;
  }
  return fields;
}

const STATUS = ["ok", ...CODES];

function statusName(status: number | undefined): string {
  return status === undefined ? "none" : (STATUS[status] ?? String(status));
}

/**
 * Connect: the health service answers as Connect does, with JSON, or with an error that only Connect has. Else,
 * where the path names a procedure, a type that nobody takes is answered by 415 and those that are
 * (`Accept-Post`), and nothing is run.
 */
export async function connect(setting: Setting, isTls: boolean): Promise<Finding> {
  let http: Http1 | undefined;
  try {
    http = await Http1.open(setting, isTls);
    const fields = [
      ["content-type", "application/json"],
      ["connect-protocol-version", "1"],
    ] as const;
    const answer = await http.ask({ method: "POST", path: HEALTH, fields, body: "{}", what: "connect" });
    const json = jsonOf(answer.body);
    const more = { facts: { path: HEALTH, status: answer.status }, phases: answer.phases };
    if (answer.status === 200 && typeof json?.["status"] === "string")
      return found("connect", `health: ${json["status"]}`, more);
    const code = json?.["code"];
    if (answer.status >= 400 && typeof code === "string" && CONNECT_CODES.has(code) && !("type" in json!)) {
      return found("connect", `it answers the error ${code}, status ${answer.status}`, more);
    }
    const accepted = PROCEDURE.test(setting.target.path) ? await refusal(setting, isTls) : undefined;
    if (accepted !== undefined) return found("connect", `${setting.target.path} takes ${accepted}`, more);
    if (answer.status === 200)
      return absent("connect", { code: "malformed", detail: "no answer of Connect" }, "", more);
    return absent("connect", { code: "http_status", detail: String(answer.status) }, `at ${HEALTH}`, more);
  } catch (thrown) {
    return absent("connect", reasonOf(thrown));
  } finally {
    http?.close();
  }
}

const PROCEDURE = /^\/[\w.]+\/\w+$/;

/** The types of Connect that the server says that it takes there. */
async function refusal(setting: Setting, isTls: boolean): Promise<string | undefined> {
  const http = await Http1.open(setting, isTls);
  try {
    const fields = [["content-type", "application/x-backtalk-probe"]] as const;
    const answer = await http.ask({ method: "POST", fields, body: "", what: "connect" });
    const accepted = field(answer, "accept-post");
    return answer.status === 415 && accepted?.includes("application/connect+") ? accepted : undefined;
  } finally {
    http.close();
  }
}

function jsonOf(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString());
    return value !== null && typeof value === "object" ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Connect spells "canceled" so; a problem of RFC 9457 has `type` besides. */
const CONNECT_CODES: ReadonlySet<string> = new Set([
  ...STATUS.slice(1).filter((name) => name !== "cancelled"),
  "canceled",
]);
