// What one instance of the Worker leaves to the next. An instance that has crashed can call nothing any more, so it leaves
// a text in its memory, which stays for the instance that holds it.

/** The instance that runs: its memory, and where in it the three numbers are that it sets when it crashes. */
let running;
/** The instance whose crash is dealt with. */
let buried;

/** Asked twice for each request. */
function hasCrashed() {
  // Memory that grows leaves its views without length.
  if (running.grave.length === 0) running.grave = new Uint32Array(running.memory.buffer, running.address, 3);
  return running.grave[0] === 1;
}

function left() {
  const [, from, length] = running.grave;
  return new TextDecoder().decode(new Uint8Array(running.memory.buffer, from, length));
}

/**
 * Called once by each instance. Returns what the one before has left, if it did crash. From then on worker's shim, which asks
 * this state whether it has to make a new instance, learns of every crash, and not only of panics.
 */
export function begin(memory, address) {
  const text = running && hasCrashed() ? left() : undefined;
  running = { memory, address, grave: new Uint32Array(memory.buffer, address, 3) };
  let critical = false;
  Object.defineProperty(globalThis.__worker_init_state, "criticalError", {
    configurable: true,
    enumerable: true,
    get: () => critical || (buried !== running && hasCrashed()),
    set: (value) => {
      critical = value;
      if (!value) buried = running;
    },
  });
  return text;
}

/** The instance that runs now, for `hasEnded`. */
export function current() {
  return running;
}

/** Whether an instance can be called no more: it has crashed, or another one has taken its place. */
export function hasEnded(instance) {
  return instance !== undefined && (instance !== running || hasCrashed());
}
