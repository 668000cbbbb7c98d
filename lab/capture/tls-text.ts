/** Messages of the handshake in words. */
import type { HandshakeMessage } from "../../src/wire/packet/tls.ts";
import {
  type ClientHello,
  readCertificate,
  readClientHello,
  readEncryptedExtensions,
  readNewSessionTicket,
  readServerHello,
  readServerKeyExchange,
  type ServerHello,
} from "../../src/wire/packet/tls-hello.ts";
import { groupName, HANDSHAKE, messageName, suiteName, versionName } from "../../src/wire/packet/tls-names.ts";
import { size } from "./parts.ts";

/** A message in a few words. */
export function messageText({ type, body }: HandshakeMessage, side: "client" | "server", isTls13: boolean): string {
  const name = messageName(type);
  switch (type) {
    case HANDSHAKE.ClientHello: {
      const hello = readClientHello(body);
      return hello ? `ClientHello${clientHelloText(hello)}` : name;
    }
    case HANDSHAKE.ServerHello: {
      const hello = readServerHello(body);
      return hello ? serverHelloText(hello) : name;
    }
    case HANDSHAKE.EncryptedExtensions: {
      const { alpn, hasEarlyData } = readEncryptedExtensions(body);
      return `${name}${alpn === undefined ? "" : ` ALPN=${alpn}`}${hasEarlyData ? " early_data" : ""}`;
    }
    case HANDSHAKE.Certificate: {
      const chain = readCertificate(body, isTls13);
      return chain ? `${name} ${size(chain.reduce((sum, { length }) => sum + length, 0))}` : name;
    }
    case HANDSHAKE.ServerKeyExchange: {
      const exchange = readServerKeyExchange(body);
      return exchange ? `${name} ${groupName(exchange.group)}` : name;
    }
    case HANDSHAKE.NewSessionTicket: {
      if (side === "client") return name;
      const ticket = readNewSessionTicket(body, isTls13);
      return ticket ? `${name} ${size(ticket.bytes)}${ticket.maxEarlyData ? " early_data" : ""}` : name;
    }
    default:
      return name;
  }
}

function clientHelloText(hello: ClientHello): string {
  const { serverName, alpn, keyShares, hasEarlyData, pskIdentities, sessionTicketBytes, hasCookie } = hello;
  const words = [
    ...(serverName === undefined ? [] : [`SNI=${serverName}`]),
    ...(alpn.length === 0 ? [] : [`ALPN=${alpn.join("/")}`]),
    ...keyShares.map(({ group }) => groupName(group)),
    ...(pskIdentities.length > 0 || (sessionTicketBytes ?? 0) > 0 ? ["ticket"] : []),
    ...(hasEarlyData ? ["early_data"] : []),
    ...(hasCookie ? ["cookie"] : []),
  ];
  return words.length === 0 ? "" : ` ${words.join(" ")}`;
}

function serverHelloText({ version, group, isRetryRequest, pskIndex, alpn, cipherSuite }: ServerHello): string {
  if (isRetryRequest) return `HelloRetryRequest${group === undefined ? "" : ` ${groupName(group)}`}`;
  const words = [
    versionName(version),
    suiteName(cipherSuite).replace(/^TLS_/, ""),
    ...(group === undefined ? [] : [groupName(group)]),
    ...(pskIndex === undefined ? [] : ["resumed"]),
    ...(alpn === undefined ? [] : [`ALPN=${alpn}`]),
  ];
  return `ServerHello ${words.join(" ")}`;
}
