/** What the server of these tests serves, in a process of its own. */
import { serverStream, service, unary, upload, withUpload } from "backtalk";
import { z } from "zod";

export default service("files", {
  /** How often it was called is in `calls`: an upload that is finished twice must start one call. */
  hash: unary(
    {
      input: withUpload(z.object({ pauseMs: z.number().default(0) }), { file: upload() }),
      output: z.object({ size: z.int(), sha256: z.string(), attempt: z.int() }),
      onRestart: "retry",
    },
    async ({ file, pauseMs }, call) => {
      const hash = new Bun.CryptoHasher("sha256");
      let size = 0;
      for await (const piece of file.stream()) {
        hash.update(piece);
        size += piece.length;
      }
      await Bun.sleep(pauseMs);
      return { size, sha256: hash.digest("hex"), attempt: call.attempt };
    },
  ),
  steps: serverStream(
    { input: withUpload(z.object({}), { file: upload() }), item: z.object({ step: z.int(), size: z.int() }) },
    async function* ({ file }) {
      for (let step = 0; step < 3; step++) yield { step, size: file.size };
    },
  ),
});
