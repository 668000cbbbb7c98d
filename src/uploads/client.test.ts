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
  expect(fault).toMatchObject({ code: status === 201 ? "unavailable" : "unknown" });
  expect(pulls).toBeLessThan(10);
});
