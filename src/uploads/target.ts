/** The call that an upload is for: its method, the member that the upload is, and the rest of the input. */
import { type Principal, type UploadOptions, uploadIssue, validate } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import { isTooDeep } from "../wire/json.ts";
import type { Serving } from "./ask.ts";
import { tooLarge, unfit } from "./faults.ts";
import type { UploadTarget } from "./record.ts";
import type { Taker } from "./takers.ts";

export interface Asked {
  readonly method: string;
  readonly member?: string | undefined;
  /** JSON text. */
  readonly input?: string | undefined;
}

/**
 * Checked before a byte is taken: nobody shall send gigabytes to hear that something else is wrong.
 * @throws Fault `invalid_argument`, `not_found`
 */
export async function targetOf(
  serving: Serving,
  principal: Principal,
  asked: Asked,
  key: string,
): Promise<UploadTarget> {
  const { jsonDepth } = serving.host.limits;
  const taker = takerOf(serving, asked.method);
  await permit(serving, principal, [taker.name]);
  const member = memberOf(taker, asked.member);
  const target: UploadTarget = { method: taker.name, member, key };
  if (member === "") return target;
  const input = parseInput(asked.input ?? "{}", jsonDepth);
  await validate(taker.method.input, { ...input, [member]: SOME_UPLOAD }, "input");
  return { ...target, input };
}

/** Who may call one of these methods may send files. @throws Fault `permission_denied` */
export async function permit({ host }: Serving, principal: Principal, methods: Iterable<string>): Promise<void> {
  let refusal: unknown;
  for (const name of methods) {
    try {
      await host.permit?.(principal, { verb: "call", on: "method", name });
      return;
    } catch (thrown) {
      refusal ??= thrown;
    }
  }
  throw refusal;
}

export function takerOf({ takers, host }: Serving, name: string): Taker {
  const taker = takers.get(name.replace(".", "/"));
  if (taker) return taker;
  const isMethod = host.contract.methods.has(name);
  throw new Fault(
    isMethod ? "invalid_argument" : "not_found",
    isMethod ? `${name} takes no upload` : `there is no method ${name.slice(0, 128)}`,
    { hint: `methods that take uploads: ${[...takers.keys()].slice(0, 12).join(", ")}` },
  );
}

/** @throws Fault `invalid_argument` when it has to be said, or there is none of this name */
export function memberOf({ name, uploads }: Taker, asked: string | undefined): string {
  const members = Object.keys(uploads);
  const member = asked ?? (members.length === 1 ? members[0] : undefined);
  if (member !== undefined && Object.hasOwn(uploads, member)) return member;
  throw new Fault("invalid_argument", `${name} has the uploads ${members.join(", ")}: say which one it is`, {
    fields: [{ path: "member", message: `must be ${members.join(" or ")}` }],
  });
}

/** What is known before the bytes: that they will not do. @throws Fault */
export function checkAnnounced(
  options: UploadOptions | undefined,
  member: string,
  { size, type }: { readonly size: number | undefined; readonly type: string | undefined },
): void {
  if (!options) return;
  const { maxBytes } = options;
  if (maxBytes !== undefined && size !== undefined && size > maxBytes)
    throw tooLarge(maxBytes, "the method takes no more");
  const issue = uploadIssue(options, { type });
  if (issue !== undefined) throw unfit(member, issue);
}

export function optionsOf({ takers }: Serving, target: UploadTarget | undefined): UploadOptions | undefined {
  return target && takers.get(target.method)?.uploads[target.member];
}

/** @throws Fault `invalid_argument` for what is no JSON object */
export function parseInput(text: string, maxDepth: number): Record<string, unknown> {
  let input: unknown;
  try {
    if (!isTooDeep(text, maxDepth)) input = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (typeof input === "object" && input !== null && !Array.isArray(input)) return input as Record<string, unknown>;
  throw new Fault("invalid_argument", "the rest of the input is not a JSON object", {
    fields: [{ path: "input", message: "must be a JSON object" }],
    hint: `such as input={"widths":[320]}, encoded for where it stands`,
  });
}

const SOME_UPLOAD = `uploads/u${"0".repeat(26)}`;
