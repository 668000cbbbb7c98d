/** Generated from prime.proto by protoc-gen-es 2.17.0. */
import { fileDesc, serviceDesc } from "@bufbuild/protobuf/codegenv2";

const file = fileDesc(
  "CgtwcmltZS5wcm90bxIFYmVuY2giGwoOSXNQcmltZVJlcXVlc3QSCQoBbhgBIAEoBSIgCg9Jc1ByaW1lUmVzcG9uc2USDQoFcHJpbWUYASABKAgyQQoFQmVuY2gSOAoHSXNQcmltZRIVLmJlbmNoLklzUHJpbWVSZXF1ZXN0GhYuYmVuY2guSXNQcmltZVJlc3BvbnNlYgZwcm90bzM",
);

export const Bench = serviceDesc(file, 0);
