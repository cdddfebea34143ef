// What one instance of the Worker leaves to the next. An instance that has crashed can call nothing any more, so it leaves
// a text in its memory, which stays for whoever holds it.

/** The instance that runs: its memory, and where in it the three numbers are that it sets when it crashes. */
let running;
/** The instance whose crash is dealt with. */
let buried;

function grave() {
  const [hasCrashed, from, length] = new Uint32Array(running.memory.buffer, running.address, 3);
  return { hasCrashed: hasCrashed === 1, text: new Uint8Array(running.memory.buffer, from, length) };
}

/**
 * Called once by each instance. Returns what the one before has left, if it did crash. From then on worker's shim, which asks
 * this state whether it has to make a new instance, learns of every crash, and not only of panics.
 */
export function begin(memory, address) {
  const text = running && grave().hasCrashed ? new TextDecoder().decode(grave().text) : undefined;
  running = { memory, address };
  let critical = false;
  Object.defineProperty(globalThis.__worker_init_state, "criticalError", {
    configurable: true,
    enumerable: true,
    get: () => critical || (buried !== running && grave().hasCrashed),
    set: (value) => {
      critical = value;
      if (!value) buried = running;
    },
  });
  return text;
}
