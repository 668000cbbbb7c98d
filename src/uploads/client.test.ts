/** The client half alone, against a server that wants to do harm. */
import { expect, test } from "bun:test";
import { toFault } from "../log/index.ts";
import { sendFile } from "./client.ts";

test.each([201, 400])("an answer without an end is not read on for ever (%d)", async (status) => {
  let pulls = 0;
  const piece = new Uint8Array(256 * 1024).fill(32);
  const fetch = async (): Promise<Response> => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulls++;
        controller.enqueue(piece);
      },
    });
    return new Response(body, { status, headers: { "upload-complete": "?1" } });
  };
  const options = { fetch: fetch as never, patienceMs: 0 };
  const fault = await sendFile("http://server", new Blob(["text"]), options).catch(toFault);
  expect(fault).toMatchObject({ code: status === 201 ? "data_loss" : "unknown" });
  expect(pulls).toBeLessThan(10);
});

test("a redirect is told of, and not followed: credentials would go with it", async () => {
  const inits: RequestInit[] = [];
  const fetch = async (_: string, init: RequestInit): Promise<Response> => {
    inits.push(init);
    return new Response(null, { status: 307, headers: { location: "http://other/" } });
  };
  const fault = await sendFile("http://server", new Blob(["text"]), { fetch: fetch as never }).catch(toFault);
  expect(fault).toMatchObject({ code: "failed_precondition", message: "the server redirects to http://other/" });
  expect(inits.map(({ redirect }) => redirect)).toEqual(["manual"]);
});
