// A stand-in for what providers serve over WebSockets: OpenAI's responses and realtime sessions, and Gemini's Live sessions. It
// accepts only the paths, credentials and messages that these have, and answers with their events.
import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const ROUTES = {
  "/openai/v1/responses": "responses",
  "/grok/v1/responses": "responses",
  "/azure-openai/openai/v1/responses": "responses",
  "/azure-openai/openai/responses": "responses",
  "/openai/v1/realtime": "realtime",
  "/azure-openai/openai/v1/realtime": "realtime",
  "/google-ai-studio/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent": "live",
};

/** Types of messages that a client may send. */
const REALTIME = ["session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear", "conversation.item.create", "conversation.item.delete", "response.create", "response.cancel"];

export class Providers {
  /** The connections so far: `{path, query, headers, received, socket}`. */
  connections = [];
  /** What the next responses are like, by their model or for all: `{text, usage, hang, cut, status, error, …}`. */
  behave = () => ({});
  #made = 0;

  static async start() {
    const providers = new Providers();
    const server = createServer((_, response) => response.writeHead(426).end());
    const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 * 1024, handleProtocols: (offered) => (offered.has("realtime") ? "realtime" : false) });
    server.on("upgrade", (request, socket, head) => {
      const url = new URL(request.url, "http://provider");
      const kind = ROUTES[url.pathname];
      const refuse = (status, body) => socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      if (kind === undefined) return refuse(404, '{"error":{"message":"no such path"}}');
      const key = request.headers["sec-websocket-protocol"]?.match(/openai-insecure-api-key\.([^, ]+)/)?.[1] ?? request.headers.authorization?.replace("Bearer ", "") ?? request.headers["api-key"] ?? request.headers["x-goog-api-key"] ?? url.searchParams.get("key");
      if (!key?.startsWith("sk-")) return refuse(401, '{"error":{"message":"no such key"}}');
      sockets.handleUpgrade(request, socket, head, (opened) => {
        const connection = { kind, path: url.pathname, query: url.searchParams, headers: request.headers, key, received: [], socket: opened };
        providers.connections.push(connection);
        providers[`_${kind}`](connection);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    providers.server = server;
    providers.origin = `http://127.0.0.1:${server.address().port}`;
    return providers;
  }

  get last() {
    return this.connections.at(-1);
  }

  /** A value for PROVIDER_BASE_URLS. */
  get baseUrls() {
    const prefixes = { openai: "/v1", grok: "/v1", "azure-openai": "", "google-ai-studio": "" };
    return Object.fromEntries(Object.entries(prefixes).map(([slug, prefix]) => [slug, `${this.origin}/${slug}${prefix}`]));
  }

  async stop() {
    this.connections.forEach(({ socket }) => socket.terminate());
    this.server.closeAllConnections();
    this.server.close();
  }

  /** Keeps every message, and hands over those that are JSON; others are answered by an error. */
  #messages(connection, take, failed) {
    connection.socket.on("error", () => {});
    connection.socket.on("message", (data, isBinary) => {
      connection.received.push(isBinary ? Buffer.from(data) : String(data));
      let event;
      try {
        event = JSON.parse(String(data));
      } catch {
        return failed("the message is no JSON");
      }
      if (event === null || typeof event !== "object" || Array.isArray(event)) return failed("the message is no object");
      take(event);
    });
  }

  /** Responses of one lane follow one another; lanes go on side by side, event by event. */
  _responses(connection) {
    const lanes = new Map();
    const send = (event) => connection.socket.send(JSON.stringify(event));
    const failed = (message, { code = null, param = null, stream_id, status = 400 } = {}) => send({ type: "error", status, error: { type: "invalid_request_error", code, message, param }, ...(stream_id && { stream_id }) });
    this.#messages(connection, (event) => {
      if (event.type === "response.steer") return undefined;
      if (event.type !== "response.create") return failed(`unknown type ${event.type}`);
      const { stream_id } = event;
      if (typeof event.model !== "string") return failed("model is missing", { code: "missing_required_parameter", param: "model", stream_id });
      if ("stream" in event || "background" in event) return failed("stream is implied", { stream_id });
      const before = lanes.get(stream_id) ?? Promise.resolve();
      lanes.set(stream_id, before.then(() => this.#response(connection, event, send, failed)));
    }, failed);
  }

  async #response(connection, asked, send, failed) {
    const { stream_id, model, previous_response_id = null, store = true } = asked;
    const { text = "Hello there.", usage = { input_tokens: 20, output_tokens: 10 }, id = `resp_${(this.#made += 1)}`, ...how } = this.behave(asked) ?? {};
    if (how.silent) return;
    if (how.error) return failed(how.error, { code: how.code, stream_id, status: how.status });
    let sequence_number = 0;
    const say = async (event) => {
      await new Promise((resolve) => setTimeout(resolve, how.pause ?? 0));
      send({ sequence_number: (sequence_number += 1), ...event, ...(stream_id !== undefined && { stream_id }) });
    };
    const response = { id, object: "response", created_at: 1_764_000_000, status: "in_progress", model: how.model ?? `${model}-2024-08-06`, previous_response_id, output: [], usage: null, error: null, incomplete_details: null, store, metadata: asked.metadata ?? {} };
    await say({ type: "response.created", response });
    await say({ type: "response.in_progress", response });
    const item = { id: `msg_${id}`, type: "message", role: "assistant", status: "in_progress", content: [] };
    await say({ type: "response.output_item.added", output_index: 0, item });
    for (const delta of text.match(/\S+\s*/g) ?? []) await say({ type: "response.output_text.delta", item_id: item.id, output_index: 0, content_index: 0, delta });
    if (how.hang) return;
    if (how.cut) return connection.socket.terminate();
    const whole = { ...item, status: "completed", content: [{ type: "output_text", text, annotations: [] }] };
    await say({ type: "response.output_item.done", output_index: 0, item: whole });
    const total = { ...usage, total_tokens: usage.input_tokens + usage.output_tokens, input_tokens_details: { cached_tokens: 0, ...usage.input_tokens_details }, output_tokens_details: { reasoning_tokens: 0 } };
    const kind = how.kind ?? "completed";
    await say({ type: `response.${kind}`, response: { ...response, status: kind, output: how.bare ? [] : [whole], usage: total, ...how.response } });
  }

  _realtime(connection) {
    const send = (event) => connection.socket.send(JSON.stringify({ event_id: `event_${(this.#made += 1)}`, ...event }));
    const failed = (message, event_id = null) => send({ type: "error", error: { type: "invalid_request_error", code: "invalid_value", message, param: null, event_id } });
    const model = connection.query.get("model") ?? connection.query.get("deployment") ?? "gpt-realtime";
    const session = { type: "realtime", object: "realtime.session", id: "sess_1", model: `${model}-2025-08-28`, audio: { input: { transcription: { model: "gpt-4o-mini-transcribe" }, turn_detection: { type: "server_vad" } } } };
    send({ type: "session.created", session });
    const respond = (asked) => {
      const { transcript = "Hello there.", usage, hang, error, kind = "completed", ...how } = this.behave(asked) ?? {};
      if (error) return failed(error, asked.event_id);
      const id = `resp_rt_${(this.#made += 1)}`;
      const response = { object: "realtime.response", id, status: "in_progress", status_details: null, output: [], usage: null };
      send({ type: "response.created", response });
      const item = { id: `item_${id}`, object: "realtime.item", type: "message", role: "assistant", status: "completed", content: [{ type: "output_audio", transcript }] };
      send({ type: "response.output_item.added", response_id: id, output_index: 0, item: { ...item, content: [] } });
      send({ type: "response.output_audio.delta", response_id: id, item_id: item.id, output_index: 0, content_index: 0, delta: Buffer.alloc(2_400, 7).toString("base64") });
      send({ type: "response.output_audio_transcript.delta", response_id: id, item_id: item.id, output_index: 0, content_index: 0, delta: transcript });
      if (hang) return (connection.cancel = () => send({ type: "response.done", response: { ...response, status: "cancelled", status_details: { type: "cancelled", reason: "client_cancelled" }, output: [{ ...item, status: "incomplete" }], usage: USED } }));
      send({ type: "response.output_audio_transcript.done", response_id: id, item_id: item.id, output_index: 0, content_index: 0, transcript });
      send({ type: "response.done", response: { ...response, status: kind, output: [item], usage: usage ?? USED, ...how.response } });
    };
    this.#messages(connection, (event) => {
      if (!REALTIME.includes(event.type)) return failed(`unknown type ${event.type}`, event.event_id ?? null);
      if (event.type === "session.update") return send({ type: "session.updated", session: { ...session, ...event.session } });
      if (event.type === "conversation.item.create") return send({ type: "conversation.item.added", item: { ...event.item, id: `item_${(this.#made += 1)}` } });
      if (event.type === "response.create") return respond(event);
      if (event.type === "response.cancel") return connection.cancel?.();
      if (event.type === "input_audio_buffer.commit") {
        send({ type: "input_audio_buffer.committed", item_id: "item_heard" });
        // Voice activity detection: the provider answers by itself.
        const said = "What time is it?";
        const counted = this.behave(event)?.counted === false ? {} : { usage: { type: "tokens", input_tokens: 14, output_tokens: 7, total_tokens: 21, input_token_details: { text_tokens: 0, audio_tokens: 14 } } };
        send({ type: "conversation.item.input_audio_transcription.completed", item_id: "item_heard", content_index: 0, transcript: said, ...counted });
        respond(event);
      }
    }, failed);
  }

  _live(connection) {
    // Gemini sends its JSON as bytes.
    const send = (event) => connection.socket.send(Buffer.from(JSON.stringify(event)));
    let isSetUp = false;
    const failed = (message) => connection.socket.close(1007, message);
    this.#messages(connection, (event) => {
      const [kind, ...more] = Object.keys(event);
      if (more.length > 0 || !["setup", "clientContent", "realtimeInput", "toolResponse"].includes(kind)) return failed("Invalid JSON payload received.");
      if (!isSetUp) {
        if (!event.setup?.model?.startsWith("models/")) return failed("setup must be the first message");
        isSetUp = true;
        return send({ setupComplete: {} });
      }
      if (kind === "realtimeInput" && !event.realtimeInput.activityEnd && !event.realtimeInput.text) return undefined;
      if (kind === "clientContent" && !event.clientContent.turnComplete) return undefined;
      const { tool, late, hang, text = "Hello there.", audio = true, usage = LIVE } = this.behave(event) ?? {};
      if (kind === "realtimeInput" && audio) send({ serverContent: { inputTranscription: { text: "What time is it?" } } });
      if (tool && kind !== "toolResponse") return send({ toolCall: { functionCalls: [{ id: "call_1", name: "clock", args: {} }] }, usageMetadata: usage });
      if (audio) {
        send({ serverContent: { modelTurn: { parts: [{ inlineData: { mimeType: "audio/pcm;rate=24000", data: Buffer.alloc(2_400, 7).toString("base64") } }] } } });
        send({ serverContent: { outputTranscription: { text } } });
      } else send({ serverContent: { modelTurn: { parts: [{ text }] } } });
      if (hang) return undefined;
      send({ serverContent: { generationComplete: true } });
      if (late) {
        send({ serverContent: { turnComplete: true } });
        return send({ usageMetadata: usage });
      }
      return send({ serverContent: { turnComplete: true }, usageMetadata: usage });
    }, failed);
  }
}

/** What a response of a realtime session uses: 100 tokens in, of which 60 are audio and 50 were cached, 40 of these audio; 30 out, 20 of them audio. */
const USED = {
  total_tokens: 130, input_tokens: 100, output_tokens: 30,
  input_token_details: { text_tokens: 40, audio_tokens: 60, image_tokens: 0, cached_tokens: 50, cached_tokens_details: { text_tokens: 10, audio_tokens: 40, image_tokens: 0 } },
  output_token_details: { text_tokens: 10, audio_tokens: 20 },
};

const LIVE = {
  promptTokenCount: 200, responseTokenCount: 40, totalTokenCount: 240,
  promptTokensDetails: [{ modality: "TEXT", tokenCount: 80 }, { modality: "AUDIO", tokenCount: 120 }],
  responseTokensDetails: [{ modality: "AUDIO", tokenCount: 40 }],
};
