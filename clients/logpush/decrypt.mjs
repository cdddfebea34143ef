// Reads logs that were pushed encrypted: `node decrypt.mjs private_key.pem batch.log.gz […]` prints a line of JSON for each log.
// It also reads logs that Cloudflare AI Gateway's Logpush has written, and passes on what is not encrypted.
import { constants, createDecipheriv, createPrivateKey, privateDecrypt } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { createGunzip } from "node:zlib";

const SEALED = ["Metadata", "RequestBody", "ResponseBody"];
/** Bytes at the end of what AES-GCM has encrypted, by which it is known to be whole. */
const TAG = 16;

/** A log as it was before it was encrypted: its bodies and its metadata as texts, and null for what was not stored. */
export function decrypted(log, privateKey) {
  const key = typeof privateKey === "string" ? createPrivateKey(privateKey) : privateKey;
  const read = { ...log };
  for (const name of SEALED) if (name in read) read[name] = opened(read[name], key);
  return read;
}

function opened(part, privateKey) {
  const isObject = part !== null && typeof part === "object";
  if (isObject && Object.keys(part).length === 0) return null;
  if (!isObject || typeof part.key !== "string" || typeof part.iv !== "string" || typeof part.data !== "string") return part;
  const bytes = (text) => Buffer.from(text, "base64");
  const aes = privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }, bytes(part.key));
  const data = bytes(part.data);
  const decipher = createDecipheriv("aes-256-gcm", aes, bytes(part.iv));
  decipher.setAuthTag(data.subarray(-TAG));
  return Buffer.concat([decipher.update(data.subarray(0, -TAG)), decipher.final()]).toString();
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [keyFile, ...files] = process.argv.slice(2);
  if (files.length === 0) {
    console.error("usage: node decrypt.mjs private_key.pem batch.log.gz […]");
    process.exit(2);
  }
  const key = createPrivateKey(readFileSync(keyFile));
  for (const file of files) {
    const lines = createInterface({ input: createReadStream(file).pipe(createGunzip()), crlfDelay: Infinity });
    for await (const line of lines) if (line) console.log(JSON.stringify(decrypted(JSON.parse(line), key)));
  }
}
