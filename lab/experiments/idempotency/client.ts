import { serveProgram } from "../../wire/program.ts";

export interface Answered {
  readonly status: number;
  readonly tries: number;
  readonly isReplayed: boolean;
  readonly body: string;
}

serveProgram({
  async ask(url: string, method: string, headers: Record<string, string>, body: string | null): Promise<Answered> {
    const response = await fetch(url, { method, headers, body });
    return {
      status: response.status,
      tries: Number(response.headers.get("x-tries")),
      isReplayed: response.headers.get("idempotency-replayed") === "true",
      body: await response.text(),
    };
  },
});
