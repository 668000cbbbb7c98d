/** The messages of backtalk.v1, for both halves; `src/describe/proto/backtalk.ts` has their file. */
import { create, type DescMessage, type DescService, type Message } from "@bufbuild/protobuf";
import { file_google_protobuf_struct, type Value } from "@bufbuild/protobuf/wkt";
import { BACKTALK_FILE, BACKTALK_PROTO } from "../../describe/proto/backtalk.ts";
import { readProto, registryOf } from "./proto-text.ts";

export const BACKTALK = "backtalk.v1.Backtalk";

/** One of the two; neither is nothing. */
export interface JsonMessage {
  readonly value?: Value | undefined;
  readonly text?: string | undefined;
}

export interface VerdictMessage {
  readonly verdict: string;
  readonly from: string;
  readonly to: string;
  readonly state?: JsonMessage | undefined;
}

export interface EventMessage {
  readonly cursor: string;
  readonly kind: string;
  readonly data?: JsonMessage | undefined;
  readonly at: bigint;
}

export interface PageMessage {
  readonly verdict?: VerdictMessage | undefined;
  readonly events: readonly EventMessage[];
  readonly cursor: string;
  readonly more: boolean;
  readonly ended: boolean;
}

export interface FaultMessage {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly hint?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly fields: readonly { readonly path: string; readonly message: string }[];
  readonly limit?: string | undefined;
  readonly detail?: JsonMessage | undefined;
}

export interface CallStateMessage {
  readonly id: string;
  readonly method: string;
  readonly state: string;
  readonly attempt: number;
  readonly openedAt: bigint;
  readonly endedAt?: bigint | undefined;
  readonly expiresAt?: bigint | undefined;
  readonly cursor: string;
  readonly progress?: JsonMessage | undefined;
  readonly result?: JsonMessage | undefined;
  readonly fault?: FaultMessage | undefined;
  readonly received?: { readonly items: bigint; readonly ended: boolean } | undefined;
  readonly fold?: JsonMessage | undefined;
}

export interface TopicStateMessage {
  readonly topic: string;
  readonly first: string;
  readonly cursor: string;
  readonly events: bigint;
  readonly bytes: bigint;
  readonly fold?: JsonMessage | undefined;
}

/** What each method takes and gives. */
export interface Requests {
  readonly Describe: Readonly<Record<string, never>>;
  readonly Call: { readonly method: string; readonly input?: JsonMessage | undefined; readonly text: boolean };
  readonly Open: {
    readonly method: string;
    readonly input?: JsonMessage | undefined;
    readonly timeoutMs?: bigint | undefined;
  };
  readonly Result: { readonly call: string; readonly text: boolean };
  readonly Read: {
    readonly log: string;
    readonly after?: string | undefined;
    readonly follow: boolean;
    readonly pageEvents: number;
    readonly text: boolean;
  };
  readonly State: {
    readonly log: string;
    readonly after?: string | undefined;
    readonly waitMs?: bigint | undefined;
    readonly text: boolean;
  };
  readonly Append: {
    readonly call: string;
    readonly items: readonly JsonMessage[];
    readonly seq?: bigint | undefined;
    readonly end: boolean;
  };
  readonly Publish: { readonly topic: string; readonly event?: JsonMessage | undefined };
  readonly Cancel: { readonly call: string; readonly text: boolean };
}

export interface Responses {
  readonly Describe: { readonly fileDescriptorSet: Uint8Array };
  readonly Call: { readonly output?: JsonMessage | undefined };
  readonly Open: { readonly call: string; readonly replayed: boolean };
  readonly Result: { readonly output?: JsonMessage | undefined };
  readonly Read: PageMessage;
  readonly State: { readonly call?: CallStateMessage | undefined; readonly topic?: TopicStateMessage | undefined };
  readonly Append: { readonly next: bigint; readonly cursor: string };
  readonly Publish: { readonly cursor: string; readonly duplicate: boolean };
  readonly Cancel: { readonly state?: CallStateMessage | undefined };
}

export type BuiltinName = keyof Requests;

export const builtinFile = readProto(BACKTALK_FILE, BACKTALK_PROTO);
const registry = registryOf([file_google_protobuf_struct.proto, builtinFile]);

export const builtinService: DescService = registry.getService(BACKTALK)!;

/** A message of these members. The nested ones are made by `create` too. */
export function made(desc: DescMessage, members: object): Message {
  return create(desc, members as never);
}
