/** The ways of the client that curl and openssl do not have: bare TCP and UDP, WebSocket, HTTP/3 with its keys. */
import { connect } from "node:net";
import * as quic from "node:quic";
import { quicClient } from "../../quic.ts";
import { serveProgram } from "../../wire/program.ts";

serveProgram({
  /** Sends so many bytes at once, ends its side, and reads until the server has ended its own. */
  tcp(address: string, port: number, bytes: number): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = "";
      const socket = connect({ port, host: address, allowHalfOpen: true }, () => {
        socket.setNoDelay(true);
        socket.end(Buffer.alloc(bytes, "d"));
      });
      socket.on("data", (data) => {
        text += data.toString();
      });
      socket.on("error", reject);
      socket.on("close", () => resolve(text));
    });
  },
  async udp(address: string, port: number, message: string): Promise<string> {
    const answer = Promise.withResolvers<string>();
    const socket = await Bun.udpSocket({
      connect: { hostname: address, port },
      socket: { data: (_, data) => answer.resolve(data.toString()) },
    });
    socket.send(message);
    const text = await answer.promise;
    socket.close();
    return text;
  },
  /** One message, its echo, and the close. */
  webSocket(url: string, message: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = "";
      const socket = new WebSocket(url);
      socket.onopen = () => socket.send(message);
      socket.onmessage = ({ data }) => {
        text = String(data);
        socket.close(1000);
      };
      socket.onerror = () => reject(new Error("the WebSocket broke"));
      socket.onclose = () => resolve(text);
    });
  },
  /** POSTs so often on one connection; the lines of the key log. */
  async http3(address: string, port: number, bodies: readonly string[]): Promise<{ status: string; keyLog: string[] }> {
    const keyLog: string[] = [];
    const session = await quic.connect(`${address}:${port}`, {
      ...quicClient((line) => void keyLog.push(line)),
      servername: "server",
    });
    session.closed.catch(() => {});
    const { opened } = session;
    let status = "";
    for (const body of bodies) {
      const stream = await session.createBidirectionalStream({
        body,
        headers: {
          ":method": "POST",
          ":scheme": "https",
          ":path": "/notes",
          ":authority": "server",
          "content-type": "application/json",
          "user-agent": "backtalk-lab",
        },
        onheaders: (headers) => {
          status = String(headers[":status"]);
        },
      });
      stream.closed.catch(() => {});
      for await (const _ of stream);
    }
    await opened;
    await session.close();
    return { status, keyLog };
  },
});
