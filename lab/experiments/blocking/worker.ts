import { compute } from "./compute.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<number>) => {
  self.postMessage(compute(data));
};
