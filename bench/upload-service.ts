/** The service whose uploads are measured: the bytes are taken and counted, and nothing else is done with them. */
import { service, unary, upload, withUpload } from "backtalk";
import { z } from "zod";

export default service("files", {
  keep: unary(
    { input: withUpload(z.object({}), { file: upload() }), output: z.object({ size: z.int(), sha256: z.string() }) },
    ({ file }) => ({ size: file.size, sha256: file.sha256! }),
  ),
});
