import { type RpcProtocol, rpcLink } from "../../../suites/transport/links.ts";
import { runTransportSuite } from "../../../suites/transport/suite.ts";

for (const protocol of ["grpc", "grpc-web", "connect"] satisfies RpcProtocol[]) {
  runTransportSuite(protocol, () => rpcLink(protocol));
}
