// The server that scripts/start.mjs starts, on the Node of the npm packages and in a process group of its own. It ends when it
// is told to, when it gets a signal, or when whoever started it is gone; in each case not before its requests and logs have.
import { Runtime } from "./runtime.mjs";
import { Failure, main, say } from "./toolchain.mjs";

/** How long the last logs may take, in milliseconds, before the process ends all the same. */
const LAST_LOGS_MS = 25_000;

await main(import.meta.url, async ([text]) => {
  const { grace, ...options } = JSON.parse(text);
  const tell = (message) => process.connected && process.send(message);
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const runtime = await Runtime.start({ ...options, started: (pids) => tell({ pids }) }).catch((error) => {
    console.error(`tollgate: error: ${error instanceof Failure ? error.message : error.stack}`);
    process.exit(1);
  });
  const failed = runtime.failed.then((reason) => {
    console.error(`tollgate: error: ${reason}.`);
    process.exitCode = 1;
  });
  let stops = 0;
  const told = new Promise((resolve) => {
    const stop = () => {
      stops += 1;
      // Whoever asks twice does not want to wait.
      const patience = stops === 1 ? grace : 0;
      if (stops === 1 && grace > 0) say("stopping: requests that are under way may end. Once more ends them.");
      const late = new Promise((resolve) => setTimeout(resolve, patience + LAST_LOGS_MS, "late"));
      void Promise.race([runtime.stop(patience), late]).then(resolve, (error) => resolve(error.message));
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
    process.on("message", stop);
    process.on("disconnect", stop);
  });
  tell({ ready: true });
  const left = await Promise.race([told, failed]);
  if (left > 0) say(`${left} requests were cut off, and their logs are missing.`);
  if (typeof left === "string") {
    console.error(`tollgate: error: the last logs could not be waited for (${left}).`);
    process.exitCode = 1;
  }
  await runtime.end();
  process.exit();
});
