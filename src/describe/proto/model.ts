/** A .proto file of ours as data: what is written, read, compared, and made descriptors of. */

export const VALUE = "google.protobuf.Value";
export const CURSOR_FIELD = "backtalk_cursor";
/** The highest number that there is (2^29 − 1), so that it is in nobody's way. */
export const CURSOR_NUMBER = 536_870_911;

export interface ProtoFile {
  readonly package: string;
  readonly imports: readonly string[];
  readonly service: ProtoService | undefined;
  readonly messages: readonly ProtoMessage[];
}

export interface ProtoService {
  readonly name: string;
  readonly rpcs: readonly ProtoRpc[];
}

export interface ProtoRpc {
  readonly name: string;
  /** Whole names of messages, with the package. */
  readonly input: string;
  readonly output: string;
  readonly isClientStream: boolean;
  readonly isServerStream: boolean;
  /** `idempotency_level = NO_SIDE_EFFECTS`. */
  readonly isSafe: boolean;
  readonly comment?: string | undefined;
}

export interface ProtoMessage {
  readonly name: string;
  /** In the order of the text. */
  readonly fields: readonly ProtoField[];
  readonly messages: readonly ProtoMessage[];
  readonly reserved: Reserved;
  readonly comment?: string | undefined;
}

export interface Reserved {
  readonly numbers: readonly number[];
  readonly names: readonly string[];
}

export interface ProtoField {
  readonly name: string;
  /** The property of the JSON. */
  readonly jsonName: string;
  readonly number: number;
  /** A scalar, or the whole name of a message. Of a map the type of its values; keys are strings. */
  readonly type: string;
  readonly label: "required" | "optional" | "repeated" | "map";
  readonly comment?: string | undefined;
}

/** Why a contract cannot go on from its pins: what, and what to do. */
export interface Break {
  /** `studio.DevelopRequest.widths`. */
  readonly where: string;
  readonly what: string;
  readonly hint: string;
}
