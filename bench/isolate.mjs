// The memory of the Worker's isolate, asked of V8 through workerd's inspector. Cloudflare counts the JavaScript heap and
// the wasm memory against 128 MB; workerd itself limits nothing, so the heap gets its limit as a flag of V8's.
import { Failure } from "../scripts/toolchain.mjs";

export const LIMIT_MB = 128;

/** Every isolate of the runtimes that are started from now on ends its process when its heap outgrows the limit. */
export function limitHeap() {
  process.env.MINIFLARE_WORKERD_V8_FLAGS = `--max-old-space-size=${LIMIT_MB}`;
}

export class Isolate {
  /** What was thrown and not caught: the runtime tells only an inspector. */
  thrown = [];
  #socket;
  #next = 0;
  #waiting = new Map();
  #context;

  /** The Worker of that name in a Miniflare that was started with an `inspectorPort`. */
  static async of(miniflare, worker) {
    const isolate = new Isolate();
    const { host } = await miniflare.getInspectorURL();
    const socket = new WebSocket(`ws://${host}/core:user:${worker}`);
    isolate.#socket = socket;
    socket.addEventListener("message", ({ data }) => isolate.#received(JSON.parse(data)));
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", ({ message }) => reject(new Failure(`the inspector does not answer: ${message}`)));
    });
    await isolate.#ask("Runtime.enable");
    return isolate;
  }

  #received({ id, method, params, result, error }) {
    if (method === "Runtime.executionContextCreated") this.#context = params.context.id;
    if (method === "Runtime.exceptionThrown") this.thrown.push(params.exceptionDetails.text);
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new Failure(`the inspector: ${error.message}`));
    else waiting?.resolve(result);
  }

  #ask(method, params = {}) {
    this.#next += 1;
    this.#socket.send(JSON.stringify({ id: this.#next, method, params }));
    return new Promise((resolve, reject) => this.#waiting.set(this.#next, { resolve, reject }));
  }

  /** Bytes of the heap that are in use, and of the array buffers that belong to it. */
  async heap() {
    const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await this.#ask("Runtime.getHeapUsage");
    return usedSize + embedderHeapUsedSize + backingStorageSize;
  }

  /** Bytes of the wasm memory, which never shrinks: at the end it tells the peak. Not part of the heap's figures. */
  async wasm() {
    const { result } = await this.#ask("Runtime.evaluate", { expression: "WebAssembly.Memory.prototype", contextId: this.#context });
    const { objects } = await this.#ask("Runtime.queryObjects", { prototypeObjectId: result.objectId });
    const functionDeclaration = "function () { return this.reduce((sum, memory) => sum + memory.buffer.byteLength, 0); }";
    return (await this.#ask("Runtime.callFunctionOn", { objectId: objects.objectId, functionDeclaration, returnByValue: true })).result.value;
  }

  close() {
    this.#socket.close();
  }
}
