/** `backtalk worker`: runs the jobs of a file's methods. */
import { startWorker } from "../../src/transports/amqp/worker.ts";
import type { Spec } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { OK, UsageError } from "../exit.ts";
import { loadServices } from "../load.ts";
import { logger } from "../log.ts";
import { BROKER_OPTIONS, brokerTls, brokerUrl } from "../parts/amqp.ts";
import { aborted } from "./serve.ts";

export const spec: Spec = {
  name: "worker",
  summary: "run the calls that wait in the queues of a broker",
  positionals: [{ name: "FILE", what: "the same that is served: exports a service by default, or an array of them" }],
  options: {
    ...BROKER_OPTIONS,
    concurrency: { value: "N", what: "jobs at once (default 1)", number: { min: 1, max: 65_535, whole: true } },
    drain: { value: "SECONDS", what: "running jobs may take so long at the end (default 10)", number: {} },
    "log-format": {
      value: "FORMAT",
      what: "text or json (default: text on a terminal)",
      choices: ["text", "json"],
    },
    json: { what: "say the methods as a line of JSON" },
  },
  examples: ["backtalk worker service.ts --amqp amqp://localhost --concurrency 4"],
  notes: [
    "The server runs with the same --amqp, --amqp-prefix and --amqp-jobs; there may be any number of workers.",
    "Ctrl-C or SIGTERM drains: running jobs finish, the rest goes to other workers. The second one ends it at once.",
  ],
};

export async function run({ args, screen, interrupt }: CommandContext): Promise<number> {
  const url = brokerUrl(args);
  if (url === undefined) throw new UsageError("--amqp is missing: the broker whose jobs are to be run");
  const services = await loadServices(args.positionals[0]!);
  const isJson = (args.text("log-format") ?? (screen.canDraw ? "text" : "json")) === "json";
  const { note } = logger("recorded", isJson, (line) => screen.note(line));
  const drain = args.number("drain");
  const worker = await startWorker({
    url,
    tls: brokerTls(args),
    prefix: args.text("amqp-prefix"),
    services,
    methods: args.texts("amqp-jobs"),
    concurrency: args.number("concurrency"),
    drainMs: drain === undefined ? undefined : drain * 1000,
    note,
  });
  if (worker.methods.length === 0) {
    await worker.stop();
    throw new UsageError("no method of this file waits in a queue", "give one queue: true, or name it by --amqp-jobs");
  }
  const { methods, shown } = worker;
  if (args.has("json")) await screen.print(JSON.stringify({ broker: shown, methods }));
  else await screen.print(`Working for ${shown}: ${methods.join(", ")}`);
  await aborted(interrupt);
  screen.explain(["Stopping: running jobs may finish. Once more ends it at once."]);
  await worker.stop();
  return OK;
}
