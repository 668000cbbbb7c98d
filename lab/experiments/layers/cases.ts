/** Each line of the table: which capture it is judged by, what theory expects, and where that is written. */
import { judgeHpack, judgeHttp2, judgeHttp3, judgeMasking, judgeQpack, judgeUpgrade } from "./judge-http.ts";
import { judgeClose, judgeCumulative, judgeData, judgeLoss, judgeOpen, judgeUdp } from "./judge-tcp.ts";
import { judgePost, judgeTls12, judgeTls12Again, judgeTls13, judgeTls13Again } from "./judge-tls.ts";
import type { Judgement, Told } from "./told.ts";

/** What is sent everywhere. */
export const BODY = '{"text":"one comment, taken apart"}';

export type CaptureName =
  | "post"
  | "tcp"
  | "tcp, lost ACKs"
  | "tcp, lost segment"
  | "udp"
  | "tls 1.2"
  | "tls 1.2 again"
  | "tls 1.3"
  | "tls 1.3 again"
  | "websocket"
  | "http/2"
  | "http/3";

export interface Case {
  readonly name: string;
  readonly capture: CaptureName;
  readonly expected: string;
  readonly source: string;
  readonly explain: string;
  judge(told: Told, certificate: Uint8Array): Judgement;
}

export const CASES: readonly Case[] = [
  {
    name: "HTTPS POST",
    capture: "post",
    expected: "nobody on the way reads it",
    source: "RFC 1122 §1.1.3, RFC 8446 §5",
    judge: (told) => judgePost(told, BODY),
    explain:
      "The message of the application is wrapped once for each layer: HTTP puts its head before it, TLS a header of 5 bytes, a tag of 16 and the hidden type around it, TCP 20 bytes and its options, IP 20, Ethernet 14. TCP/IP knows four layers: link, internet, transport, application; TLS and HTTP are both of the last. OSI counts seven, of which nobody built 5 and 6 as such: sessions and encryption are TLS here.",
  },
  {
    name: "TCP: opening",
    capture: "tcp",
    expected: "SYN, SYN+ACK, ACK",
    source: "RFC 9293 §3.5",
    judge: judgeOpen,
    explain:
      "Three segments, because each side tells the number that it begins with and must hear that it came. What both offer in their SYNs holds for the connection: the largest segment (MSS), SACK, timestamps, the scale of the window. No data before it (but see Fast Open, RFC 7413).",
  },
  {
    name: "TCP: data",
    capture: "tcp",
    expected: "segments of at most one MSS, numbered by bytes",
    source: "RFC 9293 §3.4, §3.7",
    judge: judgeData,
    explain:
      "TCP numbers bytes, not segments: each segment carries the number of its first byte, so pieces can be cut anew when they are sent again. The program's writes are not to be seen.",
  },
  {
    name: "TCP: cumulative ACK",
    capture: "tcp, lost ACKs",
    expected: "lost ACKs cost nothing",
    source: "RFC 9293 §3.4",
    judge: judgeCumulative,
    explain:
      "An acknowledgement names the next byte that is expected, and so says that all before it have come. The wire dropped the server's first ACKs of data: the next one said the same and more, and nothing had to be sent again.",
  },
  {
    name: "TCP: lost segment",
    capture: "tcp, lost segment",
    expected: "asked for by duplicate ACKs, sent again",
    source: "RFC 5681 §3.2, RFC 2018, RFC 8985",
    judge: judgeLoss,
    explain:
      "The wire dropped the third segment with data. Every later one makes the receiver repeat its last ACK, with SACK telling what it has besides; the sender takes that for a loss and sends the one segment again, a round trip later and long before its timer. Nothing that came is sent twice, and the program at the other end waits: TCP gives bytes in order only.",
  },
  {
    name: "TCP: four-way close",
    capture: "tcp",
    expected: "FIN, ACK, FIN, ACK",
    source: "RFC 9293 §3.6",
    judge: judgeClose,
    explain:
      "Each direction is closed by itself: after the client's FIN the server may go on sending, as it does here. Where it has nothing more to say, its FIN goes with the ACK, and three segments are seen. The side that closed first stays in TIME-WAIT.",
  },
  {
    name: "UDP",
    capture: "udp",
    expected: "two datagrams",
    source: "RFC 768",
    judge: judgeUdp,
    explain:
      "UDP adds ports, a length and a checksum, and nothing else: no opening, no order, no acknowledgement. What comes first on the wire is the message. Everything that TCP does is then the application's own, as in QUIC.",
  },
  {
    name: "TLS 1.2: handshake",
    capture: "tls 1.2",
    expected: "two round trips, the certificate in the clear",
    source: "RFC 5246 §7.3, RFC 8422",
    judge: judgeTls12,
    explain:
      "Hellos first, then the server's certificate and its half of the key exchange; the client answers with its half, ChangeCipherSpec and Finished, the server with its own. Only now is anything encrypted: whoever listens has seen the name, the protocol and the certificate.",
  },
  {
    name: "TLS 1.2: ticket",
    capture: "tls 1.2 again",
    expected: "no certificate, one round trip",
    source: "RFC 5077 §3.1",
    judge: judgeTls12Again,
    explain:
      "The ticket is the state of the earlier session, sealed by the server for itself. Both go on with its secret: the handshake is short, but whoever gets the key of the tickets can read what was recorded.",
  },
  {
    name: "TLS 1.3: handshake",
    capture: "tls 1.3",
    expected: "one round trip, only the hellos in the clear",
    source: "RFC 8446 §2",
    judge: judgeTls13,
    explain:
      "The client guesses a group and sends its key at once; after the ServerHello both have the secret, and everything else is encrypted: extensions with the chosen ALPN, certificate, Finished. In the clear remain SNI and what the client offers (Encrypted Client Hello, RFC 9849, would hide it). The message names of the encrypted part are known here by the key log.",
  },
  {
    name: "TLS 1.3: ticket",
    capture: "tls 1.3 again",
    expected: "pre_shared_key taken, no certificate",
    source: "RFC 8446 §2.2, §4.6.1",
    judge: judgeTls13Again,
    explain:
      "Tickets come after the handshake, each for one use. The client offers one as a pre-shared key and sends a fresh key share besides: no certificate, and yet forward secrecy. With early data the first request goes along (experiment https).",
  },
  {
    name: "WebSocket: upgrade",
    capture: "websocket",
    expected: "GET, 101, the right Sec-WebSocket-Accept",
    source: "RFC 6455 §1.3, §4",
    judge: judgeUpgrade,
    explain:
      "A WebSocket begins as a request of HTTP/1.1. The server proves that it means WebSocket, and not just HTTP, by a hash of the client's key; afterwards the same TCP connection carries frames both ways.",
  },
  {
    name: "WebSocket: masking",
    capture: "websocket",
    expected: "every frame of the client, none of the server",
    source: "RFC 6455 §5.3, §10.3",
    judge: (told) => judgeMasking(told, BODY),
    explain:
      "A client masks each frame with four random bytes, so that a page cannot make bytes that a box on the way takes for a request. It is no encryption: the mask stands before the payload.",
  },
  {
    name: "HTTP/2: frames",
    capture: "http/2",
    expected: "two requests, streams 1 and 3, one connection",
    source: "RFC 9113 §3.4, §5.1.1",
    judge: judgeHttp2,
    explain:
      "After the preface everything is a frame of 9 bytes and its payload: HEADERS and DATA of a request belong together by the number of their stream. Clients use odd numbers. Streams share one TCP connection, so a lost segment holds all of them (experiment hol).",
  },
  {
    name: "HTTP/2: HPACK",
    capture: "http/2",
    expected: "the second request's header is far smaller",
    source: "RFC 7541 §2.3",
    judge: judgeHpack,
    explain:
      "Both ends keep the same table: 61 entries that are always there, and what was sent before. A field that is known costs one byte, new text is packed by Huffman's code. Blocks must be read in their order, all of them.",
  },
  {
    name: "HTTP/3: streams",
    capture: "http/3",
    expected: "requests on 0 and 4, control streams both ways",
    source: "RFC 9114 §6, RFC 9000 §2.1",
    judge: judgeHttp3,
    explain:
      "Each request has a stream of QUIC, which knows order, end and flow control by itself; a loss holds only the streams that it hit. Settings go on a control stream of each side, QPACK has two more. The two lowest bits of a number tell who opened the stream and whether it goes both ways.",
  },
  {
    name: "HTTP/3: QPACK",
    capture: "http/3",
    expected: "known fields by the static table",
    source: "RFC 9204 §2",
    judge: judgeQpack,
    explain:
      "HPACK needs order, and streams of QUIC have none among them. QPACK sends changes of its table on a stream of their own, and a block says how much of the table it needs; who uses the static table alone never waits, and repeats more.",
  },
];
