/** What `serve` says when it is up. */

import type { Member } from "../src/contract/index.ts";
import type { AnyService } from "../src/core/core.ts";
import type { Store } from "../src/log/index.ts";
import type { Listener, Protocol } from "../src/net/serve.ts";
import type { Running } from "../src/start.ts";
import { HTTP_VIAS, type Via } from "./connect.ts";
import { labelled, type Style, table } from "./table.ts";
import { pathText } from "./values.ts";

export interface BannerOptions {
  readonly running: Running;
  readonly services: readonly AnyService[];
  readonly store: Store;
  /** Of a development certificate. */
  readonly certificate: string | undefined;
  readonly hasAuth: boolean;
  /** Where the calls of queued methods run, when there are any. */
  readonly jobs?: string | undefined;
}

export function banner(options: BannerOptions, style: Style): string[] {
  const { running, services, store, certificate, hasAuth, jobs } = options;
  const { recovered, listeners } = running;
  const taken = recovered.retried + recovered.failed;
  return [
    ...services.flatMap((service) => labelled("service", contents(service), style)),
    ...labelled("store", store.name.replace(/(?<=^sqlite:).*/, pathText), style),
    ...labelled("", store.durability, style),
    ...(taken === 0 ? [] : labelled("recovered", recoveredText(recovered), style)),
    ...labelled("callers", hasAuth ? "have to prove who they are" : NO_AUTH, style),
    ...(jobs === undefined ? [] : labelled("jobs", jobs, style)),
    ...(certificate === undefined ? [] : labelled("certificate", `for development: ${pathText(certificate)}`, style)),
    ...labelled("process", `pid ${process.pid}`, style),
    "",
    ...table(["TRANSPORT", "ADDRESS"], [...transportRows(listeners), ...partRows(running)], style),
  ];
}

const NO_AUTH = "no authentication (serve has --api-keys FILE and --jwks URL)";

function partRows({ addresses }: Running): string[][] {
  const vias = [...new Set(addresses.map(({ via }) => via))];
  return vias.map((via) => [
    via,
    addresses
      .filter((each) => each.via === via)
      .map(({ url }) => friendly(url))
      .join("  "),
  ]);
}

/** Where each transport is reached; one that a listener was not seen to speak is not there. */
export function transportRows(listeners: readonly Listener[]): string[][] {
  return HTTP_VIAS.map((via) => {
    const urls = listeners.filter(({ protocols }) => speaks(via, protocols)).map((each) => addressOf(via, each));
    return [via, urls.length === 0 ? "not spoken here" : urls.join("  ")];
  });
}

export function speaks(via: Via, protocols: readonly Protocol[]): boolean {
  if (via === "http2") return protocols.includes("h2") || protocols.includes("h2c");
  if (via === "http3") return protocols.includes("h3");
  return protocols.includes("http/1.1");
}

/** The loopback address by the name that people type. */
export function friendly(url: string): string {
  return url.replace("//127.0.0.1:", "//localhost:").replace("//0.0.0.0:", "//localhost:");
}

function addressOf(via: Via, { url, protocols }: Listener): string {
  const address = friendly(url);
  if (via === "websocket") return `${address.replace(/^http/, "ws")}/ws`;
  return via === "http2" && protocols.includes("h2c") ? `${address} (h2c)` : address;
}

function contents({ name, members }: AnyService): string {
  const all = Object.entries(members as Record<string, Member>);
  const of = (type: Member["type"]) => all.filter(([, member]) => member.type === type).map(([key]) => key);
  const groups = [
    ["methods", of("method")],
    ["topics", of("topic")],
    ["subscribers", of("subscriber")],
  ] as const;
  const texts = groups.filter(([, names]) => names.length > 0).map(([what, names]) => `${what} ${names.join(", ")}`);
  return `${name}: ${texts.join("; ")}`;
}

function recoveredText({ retried, failed }: Running["recovered"]): string {
  return `of the last process: ${retried} calls started again, ${failed} ended with unavailable`;
}
