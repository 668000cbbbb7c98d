/**
 * gRPC from Node, with nothing of Backtalk but its .proto files: `node client.mjs DIR HOST:PORT [BREAK_AFTER]`. Reads the
 * list as a stream; where the connection breaks (or after BREAK_AFTER items, to try it), it goes on from its cursor.
 */
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [directory, address, breakAfter = "0"] = process.argv.slice(2);
if (!address) {
  console.error("usage: node client.mjs DIR HOST:PORT [BREAK_AFTER]\n  such as node client.mjs api localhost:4450");
  process.exit(2);
}
const definition = await protoLoader.load("todo.proto", { includeDirs: [directory], defaults: true });
const { todo } = grpc.loadPackageDefinition(definition);
const client = new todo.Todo(address, grpc.credentials.createInsecure());

const call = (method, request) =>
  new Promise((resolve, reject) => {
    client[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });

for (const title of ["milk", "bread", "tea"]) await call("CreateTodo", { title });
const { items } = await call("ReadTodos", {});
console.log(JSON.stringify({ titles: items.map(({ title }) => title) }));

/** What a client keeps to come back: the id of the call, and the cursor of what it has. */
const place = { id: undefined, cursor: undefined };
let breaks = Number(breakAfter);
for (let isOver = false; !isOver; ) isOver = await read();
client.close();

function read() {
  const metadata = new grpc.Metadata();
  metadata.set("backtalk-cursors", "true");
  if (place.id) metadata.set("backtalk-call", place.id);
  if (place.cursor) metadata.set("backtalk-after", place.cursor);
  return new Promise((resolve, reject) => {
    const stream = client.ReadTodosStream({ pauseMs: 20 }, metadata);
    stream.on("metadata", (header) => {
      place.id = header.get("backtalk-call")[0];
      console.log(JSON.stringify({ verdict: header.get("backtalk-verdict")[0] }));
    });
    stream.on("data", ({ title, backtalkCursor }) => {
      place.cursor = backtalkCursor;
      console.log(JSON.stringify({ title }));
      if (--breaks === 0) stream.cancel();
    });
    stream.on("error", ({ code, details }) => {
      if (code === grpc.status.CANCELLED || code === grpc.status.UNAVAILABLE) resolve(false);
      else reject(new Error(details));
    });
    stream.on("end", () => {});
    // It ends with a status, and only OK is the end of the log.
    stream.on("status", ({ code }) => code === grpc.status.OK && resolve(true));
  });
}
