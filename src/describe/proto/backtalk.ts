/**
 * The service that is the same on every server (PROTOCOL.md §4.4): any method, call and topic by its
 * address, with values of JSON, for clients that were not made of the contract.
 */
export const BACKTALK_FILE = "backtalk/v1/backtalk.proto";

export const BACKTALK_PROTO = `// Backtalk over RPC: what every server can do, whatever its contract. Words and rules are those of
// PROTOCOL.md, sections 1 and 4.
syntax = "proto3";

package backtalk.v1;

import "google/protobuf/struct.proto";

service Backtalk {
  // The contract as a google.protobuf.FileDescriptorSet.
  rpc Describe(DescribeRequest) returns (DescribeResponse) {
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  // A unary call, and its output.
  rpc Call(CallRequest) returns (CallResponse);
  // Opens a recorded call of any method. Read tells what it says, Append sends what it takes.
  rpc Open(OpenRequest) returns (OpenResponse);
  // Waits for the result of a recorded call.
  rpc Result(ResultRequest) returns (ResultResponse);
  // Reads the log of a call or a topic from a place, and follows it.
  rpc Read(ReadRequest) returns (stream ReadResponse);
  // What can be said of a call or a topic at once, or as soon as there is news.
  rpc State(StateRequest) returns (StateResponse);
  // Items of the caller of a client stream.
  rpc Append(AppendRequest) returns (AppendResponse);
  // An event of a topic.
  rpc Publish(PublishRequest) returns (PublishResponse);
  // Ends a call.
  rpc Cancel(CancelRequest) returns (CancelResponse);
}

message DescribeRequest {}

message DescribeResponse {
  // google.protobuf.FileDescriptorSet: the files of the contract and those that they import.
  bytes file_descriptor_set = 1;
}

// A JSON value: one of the two.
message Json {
  google.protobuf.Value value = 1;
  // Its text, which keeps what a Value cannot: halves of surrogate pairs, deep nesting.
  optional string text = 2;
}

message CallRequest {
  // service/method
  string method = 1;
  // An empty object when absent.
  Json input = 2;
  // Answer with the text of the JSON.
  bool text = 3;
}

message CallResponse {
  // Absent when there is none.
  Json output = 1;
}

message OpenRequest {
  // service/method
  string method = 1;
  // An empty object when absent. Not for a method whose caller streams.
  Json input = 2;
  // Milliseconds until the call fails with deadline_exceeded.
  optional int64 timeout_ms = 3;
}

message OpenResponse {
  // The id to come back with.
  string call = 1;
  // The idempotency key was used before: it is that call.
  bool replayed = 2;
}

message ResultRequest {
  string call = 1;
  bool text = 2;
}

message ResultResponse {
  // Absent of a stream.
  Json output = 1;
}

message ReadRequest {
  // calls/ID or topics/NAME
  string log = 1;
  // A cursor, "start" or "now"; by default a call is read from its start, a topic from now.
  optional string after = 2;
  // Go on when what is there has been read, until the log ends. Otherwise one page.
  bool follow = 3;
  // Most events of a page (default and most 300).
  int32 page_events = 4;
  bool text = 5;
}

// Pages of a log in order. One without events, after the first, only shows that the stream lives.
message ReadResponse {
  // What the place was good for: on the first page, and later for a further gap or reset.
  optional Verdict verdict = 1;
  repeated Event events = 2;
  // After the last of the events: where to go on.
  string cursor = 3;
  // There is more to read now.
  bool more = 4;
  // The log has its end, and this page reaches it.
  bool ended = 5;
}

message Verdict {
  // recovered, gap or reset
  string verdict = 1;
  string from = 2;
  string to = 3;
  // The folded state before \`to\`, where there is one.
  Json state = 4;
}

message Event {
  string cursor = 1;
  // open, item, progress, end or fail
  string kind = 2;
  Json data = 3;
  // Milliseconds since 1970.
  int64 at = 4;
}

message StateRequest {
  // calls/ID or topics/NAME
  string log = 1;
  // Hold the answer until there is something after this cursor; without it until the call has ended.
  optional string after = 2;
  // For at most so long.
  optional int64 wait_ms = 3;
  bool text = 4;
}

message StateResponse {
  // One of the two.
  optional CallState call = 1;
  optional TopicState topic = 2;
}

message CallState {
  string id = 1;
  // service/method
  string method = 2;
  // running, done, failed or cancelled
  string state = 3;
  // 1, and one more for each restart of the handler.
  int32 attempt = 4;
  // Milliseconds since 1970.
  int64 opened_at = 5;
  optional int64 ended_at = 6;
  optional int64 expires_at = 7;
  // Reading after it gives what this state does not know yet.
  string cursor = 8;
  Json progress = 9;
  Json result = 10;
  optional Fault fault = 11;
  optional Received received = 12;
  Json fold = 13;
}

// What has arrived of a caller that streams.
message Received {
  int64 items = 1;
  bool ended = 2;
}

message TopicState {
  string topic = 1;
  string first = 2;
  string cursor = 3;
  int64 events = 4;
  int64 bytes = 5;
  Json fold = 6;
}

// A fault as on every transport.
message Fault {
  // One of the sixteen codes, such as not_found.
  string code = 1;
  string message = 2;
  bool retryable = 3;
  optional string hint = 4;
  optional double retry_after_ms = 5;
  repeated FieldFault fields = 6;
  optional string limit = 7;
  // An object of strings, numbers and booleans.
  Json detail = 8;
}

message FieldFault {
  // items[2].name; empty for the whole value.
  string path = 1;
  string message = 2;
}

message AppendRequest {
  // The id of the call.
  string call = 1;
  repeated Json items = 2;
  // The number of the first item, from 0; those that arrived before are skipped. Absent: they go to the end.
  optional int64 seq = 3;
  // No item comes after these.
  bool end = 4;
}

message AppendResponse {
  // How many items have arrived: the seq to go on with.
  int64 next = 1;
  string cursor = 2;
}

message PublishRequest {
  string topic = 1;
  Json event = 2;
}

message PublishResponse {
  // After the event.
  string cursor = 1;
  // The key was used before, and nothing was published.
  bool duplicate = 2;
}

message CancelRequest {
  // The id of the call.
  string call = 1;
  bool text = 2;
}

message CancelResponse {
  CallState state = 1;
}

// From where a topic is read by the contract's own Subscribe methods.
message SubscribeRequest {
  // A cursor, "start" or "now" (default).
  optional string after = 1;
}
`;
