/** The package that AMQP needs, and is not always there. */
import { expect, test } from "bun:test";
import { faultOf } from "../../../suites/transport/world.ts";
import { Broker } from "./broker.ts";
import { loadDriver } from "./driver.ts";

// What the runtime itself says of a package that nobody has, under the name of the one that is asked for.
const absent = (name: string) => import(`${name}-that-nobody-has`);

test("a package that is not installed is named, with how to install it", async () => {
  const fault = await faultOf(() => loadDriver(absent), "failed_precondition");
  expect(fault.message).toBe("AMQP needs the package rabbitmq-client, which is not installed");
  expect(fault.hint).toBe("npm install rabbitmq-client");
});

test("one that is there and cannot be loaded is not said to be absent", async () => {
  const broken = () => Promise.reject(new SyntaxError("Unexpected token"));
  const fault = await faultOf(() => loadDriver(broken), "failed_precondition");
  expect(fault.message).toContain("cannot be loaded: Unexpected token");
  const without = Object.assign(new Error("Cannot find package 'other'"), { code: "ERR_MODULE_NOT_FOUND" });
  expect((await faultOf(() => loadDriver(() => Promise.reject(without)))).message).toContain("Cannot find package");
});

test("it is missed before the broker is, and without a wait", async () => {
  const options = { url: "amqp://guest:guest@127.0.0.1:1", name: "test", load: absent };
  const fault = await faultOf(() => Broker.open(options), "failed_precondition");
  expect(fault.message).toContain("not installed");
});

test("the one that is installed has what is used of it", async () => {
  expect(typeof (await loadDriver()).Connection).toBe("function");
});
