import { ANONYMOUS, type Host, type Principal } from "../contract/index.ts";
import { credentialsIn } from "./credentials.ts";
import type { HttpServer } from "./mount.ts";

export interface Caller {
  readonly principal: Principal;
  readonly address: string | undefined;
}

/**
 * Who sends a request to a mount: authenticated, and counted for the limit `ratePerSecond`. Asked once for each
 * request; the calls that are made of it are `counted`.
 * @throws Fault `unauthenticated`, `resource_exhausted`
 */
export async function callerOf(host: Host, request: Request, server: HttpServer, via: string): Promise<Caller> {
  const address = server.requestIP(request)?.address;
  const credentials = () => credentialsIn((name) => request.headers.get(name), via, address);
  const principal = host.anonymous ? ANONYMOUS : await host.authenticate(credentials());
  const caller = { principal, address };
  host.count(caller);
  return caller;
}
