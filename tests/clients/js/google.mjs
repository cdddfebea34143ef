// npm's `@google/genai`.
import assert from "node:assert/strict";
import { ApiError, GoogleGenAI } from "@google/genai";
import { CITY, PROMPT, TEXT, WEATHER, failing, gather, run } from "./_case.mjs";

const model = "gemini-2.5-flash";
const open = ({ url, key, headers }) => new GoogleGenAI({ apiKey: key, vertexai: false, httpOptions: { baseUrl: `${url}/google-ai-studio`, headers } });
const config = { tools: [{ functionDeclarations: [{ name: "weather", parameters: { type: "OBJECT", properties: { city: { type: "STRING" } } } }] }] };

async function* texts(stream) {
  for await (const chunk of stream) yield chunk.text;
}

await run("@google/genai (npm)", { of: "@google/genai", providers: ["google-ai-studio"] }, {
  async chat(at) {
    assert.equal((await open(at).models.generateContent({ model, contents: PROMPT })).text, TEXT);
  },
  async stream(at) {
    assert.equal(await gather(texts(await open(at).models.generateContentStream({ model, contents: PROMPT })), at.first), TEXT);
  },
  async tools(at) {
    const first = await open(at).models.generateContent({ model, contents: "How is the weather?", config });
    const [call] = first.functionCalls;
    assert.deepEqual([call.name, call.args], ["weather", { city: CITY }]);
    const result = { role: "user", parts: [{ functionResponse: { name: "weather", response: { weather: "rain" } } }] };
    const contents = [{ role: "user", parts: [{ text: "How is the weather?" }] }, first.candidates[0].content, result];
    assert.equal(await gather(texts(await open(at).models.generateContentStream({ model, contents, config })), async () => {}), WEATHER);
  },
  async files(at) {
    // Two requests: the second goes to an address that the first one's answer names, without a key.
    const made = await open(at).files.upload({ file: new Blob(["ramen"], { type: "text/plain" }), config: { mimeType: "text/plain", displayName: "a.txt" } });
    assert.equal((await open(at).files.get({ name: made.name })).displayName, "a.txt");
    await open(at).files.delete({ name: made.name });
  },
  async embeddings(at) {
    assert.equal((await open(at).models.embedContent({ model: "gemini-embedding-001", contents: ["lunch", "dinner"] })).embeddings.length, 2);
  },
  socket: "not tried here",
  media: "it makes images with Vertex AI only",
  async errors(at) {
    const ask = (status) => open(at).models.generateContent({ model, contents: failing(status) });
    for (const status of [429, 500]) await assert.rejects(ask(status), (error) => error instanceof ApiError && error.status === status);
  },
  async token(at) {
    assert.equal((await open({ ...at, key: at.token, headers: {} }).models.generateContent({ model, contents: PROMPT })).text, TEXT);
    assert.equal(await gather(texts(await open({ ...at, key: "unused" }).models.generateContentStream({ model, contents: PROMPT })), async () => {}), TEXT);
  },
  async feedback(at) {
    const { sdkHttpResponse } = await open(at).models.generateContent({ model, contents: PROMPT });
    await at.judge(sdkHttpResponse.headers["cf-aig-log-id"]);
  },
});
