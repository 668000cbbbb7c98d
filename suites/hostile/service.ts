/** The service of the transport suite, for a process of its own. */
import { Control, suiteService } from "../transport/service.ts";

export default suiteService(new Control());
