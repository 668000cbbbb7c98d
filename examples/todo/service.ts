/**
 * The classic: a list of things to do, written once, called over every protocol; nothing here knows of any of them.
 * `backtalk serve examples/todo/service.ts`; README.md has a call by each client. The numbers of the fields on gRPC
 * are pinned in todo.proto.
 */
import { Fault, serverStream, service, topic, unary } from "backtalk";
import { z } from "zod";

const todo = z.object({
  id: z.string(),
  title: z.string(),
  done: z.boolean(),
});
type Todo = z.infer<typeof todo>;

const change = z.object({
  what: z.enum(["created", "done"]),
  todo,
});

export function todoService() {
  const list = new Map<string, Todo>();
  const changes = topic({ event: change, description: "What happened to the list.", open: false });
  const known = (id: string): Todo => {
    const found = list.get(id);
    if (found) return found;
    throw new Fault("not_found", `there is no todo ${id}`, { hint: "read them all by readTodos" });
  };
  return service("todo", {
    createTodo: unary(
      { description: "Adds one to the list.", input: z.object({ title: z.string().min(1).max(500) }), output: todo },
      async ({ title }, call) => {
        const made = { id: `t${list.size + 1}`, title, done: false };
        list.set(made.id, made);
        await call.publish(changes, { what: "created", todo: made });
        return made;
      },
    ),
    finishTodo: unary(
      { description: "Marks one as done.", input: z.object({ id: z.string() }), output: todo },
      async ({ id }, call) => {
        const done = { ...known(id), done: true };
        list.set(id, done);
        await call.publish(changes, { what: "done", todo: done });
        return done;
      },
    ),
    readTodos: unary(
      {
        description: "The whole list in one answer.",
        input: z.object({}),
        output: z.object({ items: z.array(todo) }),
        safe: true,
      },
      () => ({ items: [...list.values()] }),
    ),
    readTodosStream: serverStream(
      {
        description: "The list, one by one, with a pause between if one is asked for.",
        input: z.object({ pauseMs: z.int().min(0).max(10_000).optional() }),
        item: todo,
      },
      async function* ({ pauseMs = 0 }, call) {
        for (const each of list.values()) {
          yield each;
          if (pauseMs > 0) await pause(pauseMs, call.signal);
        }
      },
    ),
    changes,
  });
}

export default todoService();

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
