// What is asked of every provider of Vercel's `ai`.
import assert from "node:assert/strict";
import { APICallError, embedMany, generateImage, generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import { CITY, PROMPT, TEXT, WEATHER, failing, gather } from "./_case.mjs";

const weather = tool({
  description: "Tells the weather of a city.",
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
  execute: ({ city }) => (city === CITY ? "rain" : "unknown"),
});

/** Says nothing more of a client than is asked of every one: `open` makes its model, `embedder` and `painter` others. */
export function features(open, { embedder, painter, tools = true, embeddings = "it has none of this provider", media = "it makes no images with this provider" }) {
  return {
    async chat(at) {
      const { text, usage } = await generateText({ model: open(at), prompt: PROMPT, maxRetries: 0 });
      assert.deepEqual([text, usage.inputTokens > 0], [TEXT, true]);
    },
    async stream(at) {
      const { textStream } = streamText({ model: open(at), prompt: PROMPT, maxRetries: 0, onError: () => {} });
      assert.equal(await gather(textStream, at.first), TEXT);
    },
    tools: tools === true ? async (at) => {
      const asked = { prompt: "How is the weather?", tools: { weather }, stopWhen: isStepCount(3), maxRetries: 0 };
      const { text, steps } = await generateText({ model: open(at), ...asked });
      assert.deepEqual([text, steps[0].toolCalls.map(({ input }) => input)], [WEATHER, [{ city: CITY }]]);
      const { textStream } = streamText({ model: open(at), ...asked, onError: () => {} });
      assert.equal(await gather(textStream, async () => {}), WEATHER);
    } : tools,
    files: "it has no files API",
    embeddings: embedder ? async (at) => {
      const { embeddings: found } = await embedMany({ model: embedder(at), values: ["lunch", "dinner"], maxRetries: 0 });
      assert.deepEqual(found.map(({ length }) => length), [8, 8]);
    } : embeddings,
    media: painter ? async (at) => {
      const { image } = await generateImage({ model: painter(at), prompt: "ramen", maxRetries: 0 });
      assert.match(image.base64, /^iVBOR/);
    } : media,
    async errors(at) {
      const ask = (status) => generateText({ model: open(at), prompt: failing(status), maxRetries: 0 });
      for (const status of [429, 500]) await assert.rejects(ask(status), (error) => APICallError.isInstance(error) && error.statusCode === status && /as you wish/.test(error.message + error.responseBody));
    },
    async token(at) {
      assert.equal((await generateText({ model: open({ ...at, key: at.token, headers: {} }), prompt: PROMPT, maxRetries: 0 })).text, TEXT);
      const { textStream } = streamText({ model: open({ ...at, key: "unused" }), prompt: PROMPT, maxRetries: 0, onError: () => {} });
      assert.equal(await gather(textStream, async () => {}), TEXT);
    },
    async feedback(at) {
      const { response } = await generateText({ model: open(at), prompt: PROMPT, maxRetries: 0 });
      await at.judge(response.headers["cf-aig-log-id"]);
    },
  };
}
