import { X509Certificate } from "node:crypto";
import { developmentCertificate } from "../../../src/net/certificate.ts";
import { bytesByLayer } from "../../capture/bytes.ts";
import type { Ladder, LayerName, Rung } from "../../capture/ladder.ts";
import type { Capture, Column, Experiment, Finding, Lab, Network } from "../../experiment.ts";
import { scratch } from "../../wire/scratch.ts";
import { CASES, type CaptureName } from "./cases.ts";
import { recordAll } from "./record.ts";
import { type Told, tell } from "./told.ts";

/** Columns, with the layers that they add up. */
const VIEWS: readonly {
  readonly key: string;
  readonly title: string;
  readonly what: string;
  readonly of: readonly LayerName[];
}[] = [
  { key: "link", title: "2 link", what: "OSI 2, TCP/IP link: Ethernet", of: ["Ethernet", "ARP"] },
  { key: "network", title: "3 network", what: "OSI 3, TCP/IP internet: IPv4", of: ["IPv4", "ICMP"] },
  {
    key: "transport",
    title: "4 transport",
    what: "OSI 4, TCP/IP transport: TCP, UDP, QUIC",
    of: ["TCP", "UDP", "QUIC"],
  },
  {
    key: "tls",
    title: "5-6 TLS",
    what: "OSI 5 and 6, TCP/IP application: handshake, record headers, tags",
    of: ["TLS"],
  },
  {
    key: "application",
    title: "7 application",
    what: "OSI 7, TCP/IP application: HTTP, WebSocket, and the content",
    of: ["HTTP/1.1", "HTTP/2", "HTTP/3", "WebSocket", "data"],
  },
];

export const COLUMNS: readonly Column[] = [
  { key: "at", title: "at", unit: "ms", what: "when the sender sent it, from the first packet" },
  { key: "packets", title: "packets", unit: "count" },
  ...VIEWS.map(({ key, title, what }) => ({ key, title, what, unit: "bytes" as const })),
  { key: "bytes", title: "bytes", unit: "bytes", what: "on the link" },
];

export const layers: Experiment = {
  name: "layers",
  title: "one HTTPS POST and what is under it, taken apart",
  question: "What is in each packet of a request, and what does each layer add?",
  defaults: { rttMs: 20, runs: 1 },
  needs: ["curl", "openssl"],
  overLoopback: "as all that it shows is in packets",
  async run(lab) {
    for (const program of ["curl", "openssl"]) {
      if (Bun.which(program) === null) throw new Error(`${program} is not installed: install it and try again`);
    }
    using folder = scratch("layers");
    return await runIn(lab, folder.path);
  },
};

async function runIn({ network, progress }: Lab, directory: string) {
  const pem = await developmentCertificate({ names: ["server"], directory });
  const net: Network = await network!();
  let captures: ReadonlyMap<CaptureName, Capture>;
  try {
    captures = await recordAll(net, pem, directory, progress);
  } finally {
    await net.stop();
  }
  const certificate = new X509Certificate(pem.cert).raw;
  return {
    columns: COLUMNS,
    findings: findingsOf(captures, certificate),
    check: net.check,
    captures: [...captures.values()],
    notes: [
      "Bytes are those on the link, handshakes, acknowledgements and closing with them. QUIC is counted as transport although it does what TLS does, too: its packets cannot be cut in two.",
      "TLS 1.3 and QUIC are opened with the key log, by the project's own readers; tshark and Wireshark open the same captures. Application data of TLS 1.2 is not opened: its handshake shows what is to be seen.",
      "curl speaks HTTP/1.1 and 2, openssl s_client makes the handshakes and uses their tickets, Bun is the server of all and the client of WebSocket, UDP and HTTP/3.",
    ],
  };
}

/** Packets of the POST one by one, then each case. Pure: captures in, findings out. */
export function findingsOf(captures: ReadonlyMap<CaptureName, Capture>, certificate: Uint8Array): Finding[] {
  const told = new Map([...captures].map(([name, capture]) => [name, tell(capture)]));
  const post = told.get("post");
  return [
    ...(post ? post.ladder.rungs.map((rung) => packetFinding(rung, post.ladder)) : []),
    ...CASES.map((each): Finding => {
      const { name, capture, expected, source, explain } = each;
      const common = { name, expected, source, explain, capture };
      const seen = told.get(capture);
      if (!seen) return { ...common, values: {}, verdict: "refused", why: "it was not recorded" };
      const refusal = refusalOf(seen);
      if (refusal !== undefined) return { ...common, values: valuesOf(seen.ladder), verdict: "refused", why: refusal };
      const { isRight, why } = each.judge(seen, certificate);
      return { ...common, values: valuesOf(seen.ladder), verdict: isRight ? "ok" : "failed", why };
    }),
  ];
}

/** Why there is no verdict on a capture. */
function refusalOf({ capture, conversations, quic }: Told): string | undefined {
  const isSealed = conversations.some(({ tls }) => tls?.serverHello?.version === 0x0304) || quic.clientHello;
  return isSealed && !capture.keyLog ? "the client wrote no key log, so nobody can tell what it sent" : undefined;
}

function packetFinding(rung: Rung, { hosts }: Ladder): Finding {
  const notes = [...(rung.drop === undefined ? [] : [`dropped: ${rung.drop}`]), ...rung.notes];
  const names = rung.layers.map(({ name, bytes, osi, tcpIp, text }) => {
    return `${name} (OSI ${osi}, TCP/IP ${tcpIp}), ${bytes.toLocaleString("en")} bytes: ${text}`;
  });
  return {
    name: `${rung.number} ${rung.from === 0 ? "→" : "←"}`,
    values: { at: rung.at / 1e6, packets: 1, ...viewed((name) => bytesOf(rung, name)), bytes: rung.bytes },
    verdict: "none",
    why: `${rung.label}${notes.length > 0 ? ` [${notes.join(", ")}]` : ""}`,
    explain: `From ${hosts[rung.from]?.name ?? "?"}. ${names.join(". ")}.`,
    capture: "post",
  };
}

function valuesOf(ladder: Ladder): Finding["values"] {
  const { packets, total, byLayer } = bytesByLayer(ladder);
  return { packets, ...viewed((name) => byLayer[name] ?? 0), bytes: total };
}

function viewed(bytes: (name: LayerName) => number): Record<string, number> {
  return Object.fromEntries(VIEWS.map(({ key, of }) => [key, of.reduce((sum, name) => sum + bytes(name), 0)]));
}

function bytesOf({ layers: all }: Rung, wanted: LayerName): number {
  return all.filter(({ name }) => name === wanted).reduce((sum, { bytes }) => sum + bytes, 0);
}
