/** `/webhooks` for the operator (PROTOCOL.md §9.4): what waits, what was given up, and what to do about it. */
import { createHash, timingSafeEqual } from "node:crypto";
import { Fault } from "../log/index.ts";
import { credentialsIn } from "../net/credentials.ts";
import type { HttpServer, Mount } from "../net/mount.ts";
import type { Delivery } from "./delivery.ts";

const PATH = "/webhooks";

export function webhooksMount(token: string, deliveries: ReadonlyMap<string, Delivery>): Mount {
  const digest = sha256(token);
  return {
    countsByAddress: true,
    matches: (path) => path === PATH || path.startsWith(`${PATH}/`),
    async fetch(request: Request, server: HttpServer) {
      const address = server.requestIP(request)?.address;
      const { bearer } = credentialsIn((name) => request.headers.get(name), "http", address);
      if (bearer === undefined || !timingSafeEqual(sha256(bearer), digest)) {
        throw new Fault("unauthenticated", "this address is the operator's", {
          hint: "send its token as Authorization: Bearer",
        });
      }
      const url = new URL(request.url);
      const [name, verb, ...rest] = url.pathname.slice(PATH.length + 1).split("/");
      if (rest.length > 0) throw nothing();
      const { method } = request;
      if (!name) {
        if (method !== "GET") throw nothing();
        return json({ endpoints: [...deliveries.values()].map((each) => each.status()) });
      }
      const delivery = deliveries.get(name);
      if (!delivery) throw new Fault("not_found", "there is no such endpoint");
      if (method === "GET" && verb === undefined) {
        const state = url.searchParams.get("state") ?? "dead";
        if (state !== "dead" && state !== "waiting") throw new Fault("invalid_argument", "state is dead or waiting");
        const letters = await delivery.letters(state, url.searchParams.get("after") ?? undefined);
        return json({ ...delivery.status(), ...letters });
      }
      if (method !== "POST") throw nothing();
      if (verb === "resend") return json({ resent: await delivery.resend(url.searchParams.get("id") ?? undefined) });
      if (verb === "enable") await delivery.enable();
      else if (verb === "disable") await delivery.disable("by the operator");
      else throw nothing();
      return json(delivery.status());
    },
  };
}

function nothing(): Fault {
  return new Fault("not_found", "there is no such address", {
    hint: "GET /webhooks, GET /webhooks/NAME?state=dead, POST /webhooks/NAME/resend?id=, /enable, /disable",
  });
}

function json(value: unknown): Response {
  return Response.json(value, { headers: { "cache-control": "no-store", "x-content-type-options": "nosniff" } });
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
