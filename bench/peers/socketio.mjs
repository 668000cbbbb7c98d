/** A fan-out on Socket.IO, under Node: what is posted to /publish goes to everybody as an event. */
import { createServer } from "node:http";
import { Server } from "socket.io";
import { ready } from "./shared.mjs";

const http = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    io.emit("feed", JSON.parse(Buffer.concat(chunks).toString()));
    response.end("{}");
  });
});
const io = new Server(http, { transports: ["websocket"] });
http.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => ready({ port: http.address().port }));
