/** The job of a call, into the queue of its method. */

import { record } from "./job-log.ts";
import { JOB, type Job } from "./job-messages.ts";
import type { JobState } from "./job-state.ts";
import { pause } from "./line.ts";

/**
 * With a new token: of an older copy of the job nobody knows whether it is in the queue. Resolves when the broker has
 * it. @throws the reason of the call's signal when it aborts first
 */
export async function publishJob(state: JobState): Promise<void> {
  const { broker, names, server } = state.connected;
  const { signal, principal, deadline, trace } = state.call;
  const token = crypto.randomUUID();
  await record(state, { token });
  state.token = token;
  const job: Job = {
    call: state.id,
    method: state.method,
    token,
    server: names.serverOf(server),
    input: await inputOf(state),
    principal: principal.id,
    ...(deadline !== undefined && { deadline }),
    ...trace,
  };
  const envelope = {
    routingKey: names.jobsOf(state.method),
    type: JOB,
    contentType: JOB,
    messageId: token,
    mandatory: true,
  };
  for (;;) {
    if (await broker.publishSurely(envelope, JSON.stringify(job), signal)) break;
    if (signal.aborted) throw signal.reason;
    // Somebody has deleted the queue.
    await broker.redeclare().catch(() => {});
    await pause(200, signal);
  }
  void record(state, { published: token }).catch(() => {});
}

/** As the caller has sent it: the worker validates it, as a handler here would have it. */
async function inputOf({ connected, id }: JobState): Promise<unknown> {
  const { store } = connected;
  for await (const page of store.read(`calls/${id}`, { from: "start", follow: false, pageEvents: 1 })) {
    return (JSON.parse(page.events[0]?.json ?? "{}") as { input?: unknown }).input;
  }
  return undefined;
}
