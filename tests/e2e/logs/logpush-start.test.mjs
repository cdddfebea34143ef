// Log push as someone has it who starts Tollgate and takes the `#` away in wrangler.toml: the minute comes by itself, the bucket is on the disk, and the script reads what is in it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { until } from "../harness.mjs";
import { EVERYTHING, Served, root } from "../served.mjs";

const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 4_096, publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: "pkcs8", format: "pem" } });
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What is a canary? 🐤" }] };

/** The objects of Miniflare's buckets that are gzipped. */
function packed(folder) {
  const files = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile() && /r2/.test(file.parentPath));
  return files.map((file) => join(file.parentPath, file.name)).filter((path) => fs.readFileSync(path).subarray(0, 2).equals(Buffer.from([0x1f, 0x8b])));
}

test("npm start pushes to its bucket once a minute, and the script decrypts what is there", async () => {
  const gw = await Served.start({ config: EVERYTHING });
  try {
    await gw.create("gw", { logpush: true, logpush_public_key: publicKey });
    const sent = await gw.call("openai/chat/completions", { json: CHAT, headers: { authorization: "Bearer sk-client-0123456789" } });
    assert.equal(sent.status, 200);
    const { id } = await gw.logOf(sent);
    await until(async () => (await gw.result("/gateways/gw/logpush")).pushed === 1, "the minute", 150_000);
    const files = packed(gw.folder);
    assert.equal(files.length, 1);
    assert.ok(!String(gunzipSync(fs.readFileSync(files[0]))).includes("canary"), "what is private is not readable on the disk");
    gw.write("private_key.pem", privateKey);
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "clients/logpush/decrypt.mjs"), gw.path("private_key.pem"), files[0]], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    const [line, ...more] = stdout.trimEnd().split("\n").map((text) => JSON.parse(text));
    assert.deepEqual([line.ID, JSON.parse(line.RequestBody), more], [id, CHAT, []]);
  } finally {
    await gw.stop();
  }
});
