/** What captures say about TLS: which messages, what of them is in the clear, and how often the server is waited for. */

import { readCertificate, readServerKeyExchange } from "../../../src/wire/packet/tls-hello.ts";
import { groupName, HANDSHAKE, suiteName, versionName } from "../../../src/wire/packet/tls-names.ts";
import type { TlsConversation } from "../../capture/tls-parts.ts";
import { isInTheClear, type Judgement, serverFlights, type Told } from "./told.ts";

const NO_TLS: Judgement = { isRight: false, why: "no TLS was captured" };

/** A POST whose content nobody on the way can read, though its sizes are there for all. */
export function judgePost(told: Told, body: string): Judgement {
  const { conversations, ladder } = told;
  const tls = conversations[0]?.tls;
  if (!tls) return NO_TLS;
  const text = new TextDecoder().decode(tls.plain.client);
  const isHidden = !isInTheClear(told, Buffer.from(body));
  const total = ladder.rungs.reduce((sum, { bytes }) => sum + bytes, 0);
  const isRight = isHidden && text.startsWith("POST ") && text.endsWith(body);
  return {
    isRight,
    why: `${body.length} bytes of body in ${total.toLocaleString("en")} bytes of ${ladder.rungs.length} packets; it is ${isHidden ? "nowhere in the clear" : "in the clear"}, and the key log ${isRight ? "opens it" : "does not open it"}`,
  };
}

export function judgeTls12(told: Told, certificate: Uint8Array): Judgement {
  const tls = told.conversations[0]?.tls;
  if (!tls?.clientHello || !tls.serverHello) return NO_TLS;
  const { clientHello, serverHello } = tls;
  const names = tls.messages.server.map(({ name }) => name);
  const exchange = tls.messages.server.find(({ type }) => type === HANDSHAKE.ServerKeyExchange);
  const read = exchange && readServerKeyExchange(exchange.body);
  const isClear = isInTheClear(told, certificate);
  const flights = serverFlights(told.ladder);
  const expected = ["ServerHello", "Certificate", "ServerKeyExchange", "ServerHelloDone"];
  return {
    isRight:
      expected.every((name, index) => names[index] === name) &&
      isClear &&
      flights === 2 &&
      serverHello.version === 0x0303,
    why: `${versionName(serverHello.version)}, ${suiteName(serverHello.cipherSuite)}; ${names.slice(0, 4).join(", ")}; ${groupName(read?.group ?? 0)} after the hellos, so the server is waited for ${times(flights)}; in the clear: SNI ${clientHello.serverName ?? "none"}, ALPN ${serverHello.alpn ?? "none"}, ${isClear ? "the certificate" : "no certificate"}`,
  };
}

export function judgeTls12Again({ conversations, ladder }: Told): Judgement {
  const tls = conversations[0]?.tls;
  if (!tls?.clientHello) return NO_TLS;
  const ticket = tls.clientHello.sessionTicketBytes ?? 0;
  const hasCertificate = tls.messages.server.some(({ type }) => type === HANDSHAKE.Certificate);
  const flights = serverFlights(ladder);
  return {
    isRight: ticket > 0 && !hasCertificate && flights === 1,
    why: `the hello offers a ticket of ${ticket} bytes, and the server ${hasCertificate ? "sends its certificate all the same" : "goes on without certificate and key exchange"}: it is waited for ${times(flights)}`,
  };
}

export function judgeTls13(told: Told, certificate: Uint8Array): Judgement {
  const tls = told.conversations[0]?.tls;
  if (!tls?.clientHello || !tls.serverHello) return NO_TLS;
  const { clientHello, serverHello } = tls;
  const isClear = isInTheClear(told, certificate);
  const flights = serverFlights(told.ladder);
  const hidden = tls.messages.server.filter(({ wasEncrypted }) => wasEncrypted).map(({ name }) => name);
  const plain = tls.messages.server.filter(({ wasEncrypted }) => !wasEncrypted).map(({ name }) => name);
  const opened = tls.messages.server.find(({ type }) => type === HANDSHAKE.Certificate);
  const isSame = opened && Buffer.from(readCertificate(opened.body, true)?.[0] ?? []).equals(certificate);
  const shares = clientHello.keyShares.map(({ group }) => groupName(group)).join(", ");
  return {
    isRight:
      serverHello.version === 0x0304 && !isClear && flights === 1 && plain.join() === "ServerHello" && isSame === true,
    why: `${versionName(serverHello.version)}, ${suiteName(serverHello.cipherSuite)}; the first hello carries a key (${shares}), so the server is waited for ${times(flights)}; in the clear: SNI ${clientHello.serverName ?? "none"} and ${plain.join(", ")}; encrypted: ${hidden.filter((name) => name !== "NewSessionTicket").join(", ")}${isClear ? "; the certificate is in the clear" : ""}`,
  };
}

export function judgeTls13Again({ conversations }: Told): Judgement {
  const tls = conversations[0]?.tls;
  if (!tls?.clientHello || !tls.serverHello) return NO_TLS;
  const offered = tls.clientHello.pskIdentities[0] ?? 0;
  const isTaken = tls.serverHello.pskIndex === 0;
  const hasCertificate = tls.messages.server.some(({ type }) => type === HANDSHAKE.Certificate);
  return {
    isRight: offered > 0 && isTaken && !hasCertificate && isOpened(tls),
    why: `the hello offers a ticket of ${offered} bytes (pre_shared_key), the ServerHello ${isTaken ? "takes it" : "does not take it"}; ${hasCertificate ? "a certificate came" : "no certificate"}; a fresh key exchange (${groupName(tls.serverHello.group ?? 0)}) all the same`,
  };
}

function times(count: number): string {
  return count === 1 ? "once" : count === 2 ? "twice" : `${count} times`;
}

/** Absent messages prove something only when all could be read. */
function isOpened({ messages }: TlsConversation): boolean {
  return messages.server.some(({ type, wasEncrypted }) => wasEncrypted && type === HANDSHAKE.Finished);
}
