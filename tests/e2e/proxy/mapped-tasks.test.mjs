// Embeddings, images and rankings of models that Amazon Bedrock and Vertex AI serve in the words of their makers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { ACCOUNT, Gateway } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const headers = { authorization: "Bearer sk-client-0123456789" };
const answer = (body, more) => ({ headers: { "content-type": "application/json", ...more }, body: JSON.stringify(body) });
const sent = () => [decodeURIComponent(gw.upstream.last.url.split("/models/").at(-1).split("/model/").at(-1)), JSON.parse(gw.upstream.last.body)];
const openai = () => new OpenAI({ apiKey: "sk-client-0123456789", baseURL: `${gw.url}/v1/${ACCOUNT}/gw/ai/v1`, maxRetries: 0 });

test("OpenAI's client gets vectors of Titan's, Cohere's and Google's", async () => {
  const MODELS = {
    "aws-bedrock/us-east-1/amazon.titan-embed-text-v2:0": [{ embedding: [0.5, 1], inputTextTokenCount: 3 }, {}, ["amazon.titan-embed-text-v2:0/invoke", { inputText: "hi" }]],
    "aws-bedrock/us-east-1/cohere.embed-multilingual-v3": [{ id: "e", response_type: "embeddings_floats", embeddings: [[0.5, 1]], texts: ["hi"] }, { "x-amzn-bedrock-input-token-count": "3" }, ["cohere.embed-multilingual-v3/invoke", { texts: ["hi"], input_type: "search_document" }]],
    "google-vertex-ai/p/us-central1/gemini-embedding-001": [{ predictions: [{ embeddings: { values: [0.5, 1], statistics: { truncated: false, token_count: 3 } } }] }, {}, ["gemini-embedding-001:predict", { instances: [{ content: "hi" }] }]],
  };
  for (const [model, [said, more, wanted]] of Object.entries(MODELS)) {
    for (const encoding_format of ["float", undefined]) {
      gw.upstream.next(answer(said, more));
      const { data, response } = await openai().embeddings.create({ model, input: "hi", encoding_format }).withResponse();
      assert.deepEqual([data.data[0].embedding, data.usage.prompt_tokens], [[0.5, 1], 3], model);
      assert.deepEqual(sent(), wanted);
      const log = await gw.logOf(response);
      assert.deepEqual([log.provider, log.tokens_in, log.success, log.model_type], [model.split("/")[0], 3, true, "embeddings"], model);
      assert.ok(log.cost > 0, `${model}: ${log.cost}`);
    }
  }
});

test("a ranking, and images, come in the caller's words", async () => {
  const results = [{ index: 1, relevance_score: 0.9 }];
  gw.upstream.next(answer({ results }));
  const ranked = await gw.call("ai/v1/rerank", { json: { model: "aws-bedrock/us-east-1/cohere.rerank-v3-5:0", query: "q", documents: ["a", "b"], top_n: 1 }, headers });
  assert.deepEqual([ranked.status, (await ranked.json()).results], [200, results]);
  assert.deepEqual(sent(), ["cohere.rerank-v3-5:0/invoke", { query: "q", documents: ["a", "b"], top_n: 1, api_version: 2 }]);
  for (const [model, said] of [["aws-bedrock/us-east-1/amazon.nova-canvas-v1:0", { images: ["AAAA"], error: null }], ["google-vertex-ai/p/us-central1/imagen-4.0-generate-001", { predictions: [{ bytesBase64Encoded: "AAAA", mimeType: "image/png" }] }]]) {
    gw.upstream.next(answer(said));
    const { data, response } = await openai().images.generate({ model, prompt: "Ramen", size: "1024x1024", quality: "high" }).withResponse();
    assert.deepEqual([data.data[0].b64_json, response.headers.get("cf-aig-warning")], ["AAAA", "dropped=quality"]);
    const log = await gw.logOf(response);
    assert.deepEqual([log.success, log.cost > 0], [true, true], `${model}: ${log.cost}`);
  }
});

test("what a model cannot do is refused by name, and a provider's error is OpenAI's", async () => {
  const REFUSED = [
    [{ model: "aws-bedrock/us-east-1/amazon.titan-embed-text-v2:0", input: ["a", "b"] }, {}, /input: Titan takes one text/],
    [{ model: "aws-bedrock/us-east-1/amazon.nova-pro-v1:0", input: "a" }, {}, /Of aws-bedrock it reaches amazon\.titan-embed-text/],
    [{ model: "aws-bedrock/us-east-1/cohere.embed-v4:0", input: "a", odd: 1 }, { "cf-aig-translate": "strict" }, /no place for: odd/],
  ];
  for (const [json, more, wanted] of REFUSED) {
    const refused = await gw.call("ai/v1/embeddings", { json, headers: { ...headers, ...more } });
    const { error } = await refused.json();
    assert.equal(refused.status, 400);
    assert.match(error.message, wanted);
  }
  gw.upstream.next({ status: 400, ...answer({ message: "Malformed input request" }) });
  const failed = await gw.call("ai/v1/embeddings", { json: { model: "aws-bedrock/us-east-1/amazon.titan-embed-text-v2:0", input: "a" }, headers });
  assert.deepEqual([failed.status, (await failed.json()).error.message], [400, "Malformed input request"]);
});
