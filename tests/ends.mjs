// Loaded before each file of tests. A test that fails may leave a server or a socket behind, and then its file would never end, nor would the run: half a minute after
// its last test a file ends all the same, as what it found.
import { after } from "node:test";

const GRACE_MS = 30_000;

// The process that starts the files has no such variable.
if (process.env.NODE_TEST_CONTEXT) after(() => setTimeout(() => process.exit(), GRACE_MS).unref());
