/** The shortest service there can be: `backtalk serve examples/first/service.ts`. */
import { service, unary } from "backtalk";
import { z } from "zod";

export default service("first", {
  hello: unary(
    { input: z.object({ name: z.string().default("you") }), output: z.object({ text: z.string() }) },
    ({ name }) => ({ text: `Hello, ${name}!` }),
  ),
});
