/** The messages of google.rpc in which faults travel (google/rpc/error_details.proto). */
import type { DescFile, DescMessage, Message } from "@bufbuild/protobuf";
import { file_google_protobuf_duration } from "@bufbuild/protobuf/wkt";
import { readProto, registryOf } from "./proto-text.ts";

const PROTO = `syntax = "proto3";
package google.rpc;
import "google/protobuf/duration.proto";
message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
message BadRequest {
  message FieldViolation { string field = 1; string description = 2; string reason = 3; LocalizedMessage localized_message = 4; }
  repeated FieldViolation field_violations = 1;
}
message RetryInfo { google.protobuf.Duration retry_delay = 1; }
message LocalizedMessage { string locale = 1; string message = 2; }
`;

/** Loosely: what another server has sent is checked where it is read. */
export type ErrorInfo = Message & { reason: string; domain: string; metadata: Record<string, string> };
export type BadRequest = Message & { fieldViolations: { field: string; description: string }[] };
export type RetryInfo = Message & { retryDelay?: { seconds: bigint; nanos: number } };
export type LocalizedMessage = Message & { locale: string; message: string };

const FILE = "google/rpc/error_details.proto";
const registry = registryOf([file_google_protobuf_duration.proto, readProto(FILE, PROTO)]);

/** With what it imports, for reflection: then tools can show the details of a status. */
export const detailFiles: readonly DescFile[] = [...registry.files];

const message = (name: string): DescMessage => registry.getMessage(`google.rpc.${name}`)!;

export const ErrorInfoSchema = message("ErrorInfo");
export const BadRequestSchema = message("BadRequest");
export const RetryInfoSchema = message("RetryInfo");
export const LocalizedMessageSchema = message("LocalizedMessage");
