/** What the platform itself costs: the body of a request goes to a file as it comes, and then to the disk. */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { options, ready } from "../peers/shared.mjs";

const { directory } = options<{ directory: string }>();
const path = join(directory, "sink.bin");

async function take(request: Request): Promise<Response> {
  const file = await open(path, "w");
  let size = 0;
  for await (const piece of request.body!) {
    for (let done = 0; done < piece.length; ) {
      const { bytesWritten } = await file.write(piece, done, piece.length - done, size + done);
      done += bytesWritten;
    }
    size += piece.length;
  }
  await file.datasync();
  await file.close();
  await rm(path);
  return Response.json({ size });
}

const { port } = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  development: false,
  maxRequestBodySize: 8 * 1024 ** 3,
  fetch: take,
});
ready({ port: port! });
