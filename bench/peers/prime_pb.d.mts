import type { DescService } from "@bufbuild/protobuf";

export const Bench: DescService;
