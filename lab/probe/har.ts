/** The requests as HAR 1.2, for the tools that draw waterfalls. */
import packageJson from "../../package.json";
import type { Told } from "./setting.ts";

export function har(requests: readonly Told[]): object {
  return {
    log: {
      version: "1.2",
      creator: { name: "backtalk probe", version: packageJson.version },
      entries: requests.toSorted((a, b) => a.startedAt - b.startedAt).map(entry),
    },
  };
}

function entry(told: Told): object {
  const { phases, requestFields, fields } = told;
  const timings = timingsOf(told);
  const spent = Object.entries(timings).reduce(
    (sum, [name, value]) => (name === "ssl" || value < 0 ? sum : sum + value),
    0,
  );
  const mimeType = fields.find(([name]) => name === "content-type")?.[1] ?? "";
  return {
    startedDateTime: new Date(told.startedAt).toISOString(),
    time: round(spent),
    request: {
      method: told.method,
      url: told.url,
      httpVersion: told.version,
      cookies: [],
      headers: pairs(requestFields),
      queryString: pairs([...new URL(told.url).searchParams]),
      headersSize: -1,
      bodySize: told.requestBytes,
    },
    response: {
      status: told.status,
      statusText: told.statusText,
      httpVersion: told.version,
      cookies: [],
      headers: pairs(fields),
      content: { size: told.bodyBytes, mimeType },
      redirectURL: fields.find(([name]) => name === "location")?.[1] ?? "",
      headersSize: -1,
      bodySize: told.bodyBytes,
    },
    cache: {},
    timings,
    serverIPAddress: told.address,
    comment: `${told.what}${phases.roundTrips === undefined ? "" : `; ${phases.roundTrips} round trips to the first byte`}`,
  };
}

/** HAR 1.2: the time of `ssl` is counted in `connect` too; -1 where a phase was not there. */
function timingsOf({ phases, pretransfer, isReused }: Told) {
  const { namelookup, connect, appconnect, starttransfer, total } = phases;
  const ready = appconnect ?? connect ?? namelookup;
  const [first, end] = [starttransfer ?? ready, total ?? starttransfer ?? ready];
  // Over QUIC the request may be sent before the handshake has ended.
  const sent = isReused ? 0 : Math.min(Math.max(pretransfer, connect === undefined ? 0 : ready), first);
  const isQuic = connect === undefined && appconnect !== undefined;
  const tls = appconnect === undefined ? -1 : round(appconnect - (connect ?? namelookup));
  const connecting = isQuic ? tls : connect === undefined ? -1 : round(ready - namelookup);
  return {
    blocked: -1,
    dns: isReused ? -1 : round(namelookup),
    connect: isReused ? -1 : connecting,
    ssl: isReused ? -1 : tls,
    send: isReused ? 0 : round(Math.max(0, sent - ready)),
    wait: round(Math.max(0, first - (isReused ? 0 : Math.max(sent, ready)))),
    receive: round(Math.max(0, end - first)),
  };
}

function pairs(all: readonly (readonly [string, string])[]): { name: string; value: string }[] {
  return all.map(([name, value]) => ({ name, value }));
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
