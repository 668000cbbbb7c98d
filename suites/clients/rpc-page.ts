/** What rpc.test.ts runs in a page: the SDK over Connect and gRPC-Web. */
import { createClient, Fault } from "../../src/client/index.ts";
import { connectPeer, grpcWebPeer } from "../../src/transports/rpc/client.ts";

const peers = { connect: connectPeer, grpcWeb: grpcWebPeer };

async function runTodo(protocol: keyof typeof peers): Promise<Record<string, unknown>> {
  // biome-ignore lint/suspicious/noExplicitAny: the types of the service are not in the page
  const client = createClient(location.origin, { transport: peers[protocol] }) as any;
  const changes = client.topics.changes.subscribe({ after: "now" })[Symbol.asyncIterator]();
  const first = changes.next();
  const title = `by ${protocol}`;
  // Until the subscription is there nothing is missed: the place `now` is where it begins.
  let change: { readonly what: string } | undefined;
  let made: { title: string } | undefined;
  for (let tries = 0; change === undefined && tries < 20; tries++) {
    made = (await client.todo.createTodo({ title })) as { title: string };
    const event = await Promise.race([first, new Promise<undefined>((resolve) => setTimeout(resolve, 250))]);
    change = event?.value?.data;
  }
  const streamed: string[] = [];
  for await (const each of client.todo.readTodosStream({})) streamed.push(each.title);
  const fault = await client.todo.createTodo({ title: "" }).catch((thrown: unknown) => thrown);
  client.close();
  return {
    protocol,
    made: made?.title,
    hasStreamed: streamed.includes(title),
    fault: fault instanceof Fault && fault.code,
    change: change?.what,
  };
}

Object.assign(globalThis, { runTodo });
