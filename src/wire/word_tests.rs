//! Whose words are whose: an answer of every format with places that users and models fill, marked `"§"`. Whatever they
//! write there, as JSON or as text, the facts are the same.

use super::details::{Count, Tier};
use super::eventstream::tests::frame;
use crate::wire::facts::{Facts, Framing};
use crate::wire::read;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The name of a format, how its bytes are framed, its documents, and what they say: model, id, tokens in, tokens out,
/// the end and the error.
type Format = (&'static str, Framing, &'static [&'static str], [&'static str; 6]);

const FORMATS: &[Format] = &[
    (
        "chat",
        Framing::Json,
        &[r#"{"id":"a","object":"chat.completion","model":"m","metadata":"§","user":"§","choices":[{"index":0,
            "message":{"role":"assistant","content":"§","refusal":"§","reasoning_content":"§","parsed":"§","audio":{"transcript":"§"},
            "annotations":[{"type":"url_citation","url_citation":"§"}],"context":"§","tool_calls":[{"id":"§","type":"function",
            "function":{"name":"§","arguments":"§"}}],"function_call":{"name":"§","arguments":"§"}},
            "logprobs":{"content":[{"token":"§","top_logprobs":"§"}]},"content_filter_results":"§","stop_reason":"§",
            "finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":60,"total_tokens":80},
            "citations":["§"],"search_results":["§"],"tools":"§","response_format":"§","prompt_filter_results":"§","input_user":"§"}"#],
        ["m", "a", "20", "60", "stop", ""],
    ),
    (
        "chat stream",
        Framing::Sse,
        &[
            r#"{"id":"a","object":"chat.completion.chunk","model":"m","metadata":"§","choices":[{"index":0,"delta":{"role":"assistant",
               "content":"§","reasoning":"§","reasoning_details":["§"],"tool_calls":[{"id":"§","function":{"arguments":"§"}}]},
               "logprobs":{"content":["§"]},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"a","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"§"},"stop_reason":"§",
               "finish_reason":"stop"}],"citations":["§"]}"#,
            r#"{"id":"a","object":"chat.completion.chunk","model":"m","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":60}}"#,
            r#"{"id":"a","object":"chat.completion.chunk","model":"m","choices":[{"delta":{"content":"§"}}],"metadata":"§"}"#,
        ],
        ["m", "a", "20", "60", "stop", ""],
    ),
    (
        "completion",
        Framing::Json,
        &[
            r#"{"id":"a","object":"text_completion","model":"m","choices":[{"text":"§","logprobs":"§","finish_reason":"length"}],
            "usage":{"prompt_tokens":8,"completion_tokens":2}}"#,
        ],
        ["m", "a", "8", "2", "length", ""],
    ),
    (
        "responses",
        Framing::Json,
        &[
            r#"{"id":"a","object":"response","status":"completed","error":null,"incomplete_details":null,"instructions":"§","metadata":"§",
            "model":"m","output":[{"type":"message","content":[{"type":"output_text","text":"§","annotations":["§"],"logprobs":["§"]}]},
            {"type":"function_call","arguments":"§","name":"§","call_id":"§"},{"type":"mcp_list_tools","tools":["§"],"error":"§"},
            {"type":"mcp_call","arguments":"§","output":"§","error":"§"},{"type":"code_interpreter_call","outputs":["§"]},
            {"type":"file_search_call","queries":"§","results":["§"]},{"type":"reasoning","summary":["§"]}],
            "previous_response_id":"§","previous_response":"§","prompt":"§","prompt_cache_key":"§","safety_identifier":"§","user":"§",
            "text":{"format":{"type":"json_schema","schema":"§"}},"tools":["§"],"tool_choice":"§","reasoning":"§",
            "usage":{"input_tokens":33,"output_tokens":21,"total_tokens":54}}"#,
        ],
        ["m", "a", "33", "21", "completed", ""],
    ),
    (
        "responses stream",
        Framing::Sse,
        &[
            r#"{"type":"response.created","response":{"id":"a","object":"response","status":"in_progress","error":null,"instructions":"§",
               "metadata":"§","model":"m","output":[],"tools":["§"],"text":"§","prompt":"§","usage":null}}"#,
            r#"{"type":"response.output_item.added","item":{"type":"function_call","arguments":"§","name":"§"},"output_index":0}"#,
            r#"{"type":"response.function_call_arguments.delta","delta":"§","obfuscation":"§"}"#,
            r#"{"type":"response.function_call_arguments.done","arguments":"§","item":"§"}"#,
            r#"{"type":"response.output_text.delta","delta":"§","logprobs":["§"]}"#,
            r#"{"type":"response.output_text.annotation.added","annotation":"§"}"#,
            r#"{"type":"response.content_part.done","part":"§"}"#,
            r#"{"type":"response.output_item.done","item":"§"}"#,
            r#"{"type":"response.incomplete","response":{"id":"a","object":"response","model":"m","metadata":"§","instructions":"§",
               "incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message","content":["§"]},{"arguments":"§"}],
               "text":{"format":"§"},"user":"§","usage":{"input_tokens":33,"output_tokens":21}}}"#,
        ],
        ["m", "a", "33", "21", "max_output_tokens", ""],
    ),
    (
        "embeddings",
        Framing::Json,
        &[r#"{"object":"list","model":"m","data":[{"object":"embedding","embedding":[0.1],"input":"§"},"§"],
            "usage":{"prompt_tokens":9,"total_tokens":9}}"#],
        ["m", "", "9", "", "", ""],
    ),
    (
        "images",
        Framing::Json,
        &[
            r#"{"created":1,"size":"1024x1024","quality":"high","data":[{"b64_json":"x","revised_prompt":"§"}],"usage":{"input_tokens":10,"output_tokens":20}}"#,
        ],
        ["", "", "10", "20", "", ""],
    ),
    (
        "transcription in full",
        Framing::Json,
        &[r#"{"task":"transcribe","language":"english","duration":8.47,"text":"§","segments":["§"],"words":["§"],
            "usage":{"type":"duration","seconds":9}}"#],
        ["", "", "", "", "", ""],
    ),
    (
        "pages",
        Framing::Json,
        &[
            r#"{"pages":[{"index":0,"markdown":"§","images":["§"],"dimensions":"§"}],"model":"m","document_annotation":"§",
            "usage_info":{"pages_processed":2,"pages_processed_annotation":1,"doc_size_bytes":5}}"#,
        ],
        ["m", "", "", "", "", ""],
    ),
    (
        "imagen",
        Framing::Json,
        &[r#"{"predictions":[{"bytesBase64Encoded":"x","prompt":"§","safetyAttributes":"§"}]}"#],
        ["", "", "", "", "", ""],
    ),
    ("canvas", Framing::Json, &[r#"{"images":["x"],"error":null}"#], ["", "", "", "", "", ""]),
    (
        "workers-ai whisper",
        Framing::Json,
        &[
            r#"{"result":{"transcription_info":{"duration":3.5,"language":"§"},"text":"§","segments":["§"],"vtt":"§"},"success":true}"#,
        ],
        ["", "", "", "", "", ""],
    ),
    (
        "transcription stream",
        Framing::Sse,
        &[
            r#"{"type":"transcript.text.delta","delta":"§","logprobs":["§"]}"#,
            r#"{"type":"transcript.text.done","text":"§","logprobs":["§"],"usage":{"input_tokens":14,"output_tokens":45}}"#,
        ],
        ["", "", "14", "45", "", ""],
    ),
    (
        "batch",
        Framing::Json,
        &[r#"{"id":"a","object":"batch","model":"m","errors":{"object":"list","data":["§"]},"metadata":"§",
            "usage":{"input_tokens":3,"output_tokens":4}}"#],
        ["m", "a", "3", "4", "", ""],
    ),
    (
        "list of stored answers",
        Framing::Json,
        &[
            r#"{"object":"list","data":[{"id":"§","metadata":"§","usage":{"prompt_tokens":1},"error":"§"}],"has_more":false}"#,
        ],
        ["", "", "", "", "", ""],
    ),
    (
        "results of a batch",
        Framing::Lines,
        &[
            r#"{"id":"batch_req_1","custom_id":"§","response":{"status_code":200,"body":"§"},"error":null}"#,
            r#"{"custom_id":"§","result":{"type":"succeeded","message":{"id":"a","type":"message","model":"m","content":["§"],"usage":{"input_tokens":3,"output_tokens":4}}},"usage":"§","error":"§"}"#,
            r#"{"custom_id":"§","result":{"type":"succeeded","message":{"id":"b","type":"message","model":"m","content":["§"],"usage":{"input_tokens":3,"output_tokens":4}}}}"#,
        ],
        ["m", "", "6", "8", "", ""],
    ),
    (
        "run",
        Framing::Json,
        &[
            r#"{"id":"a","object":"thread.run","model":"m","status":"requires_action","last_error":null,"instructions":"§","metadata":"§",
            "tools":["§"],"response_format":"§","required_action":{"submit_tool_outputs":{"tool_calls":["§"]}},"tool_choice":"§",
            "usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
        ],
        ["m", "a", "5", "6", "", ""],
    ),
    (
        "run stream",
        Framing::Sse,
        &[
            r#"{"id":"a","object":"thread.run","model":"m","metadata":"§","instructions":"§","usage":null}"#,
            r#"{"id":"step","object":"thread.run.step","step_details":"§","metadata":"§","usage":null,"last_error":"§"}"#,
            r#"{"id":"msg","object":"thread.message","content":["§"],"metadata":"§"}"#,
            r#"{"id":"msg","object":"thread.message.delta","delta":"§"}"#,
            r#"{"id":"a","object":"thread.run","model":"m","metadata":"§","usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
        ],
        ["m", "a", "5", "6", "", ""],
    ),
    (
        "realtime",
        Framing::Sse,
        &[
            r#"{"type":"conversation.item.created","item":"§"}"#,
            r#"{"type":"response.done","event_id":"e","response":{"object":"realtime.response","id":"a","output":[{"arguments":"§"}],
               "metadata":"§","usage":{"input_tokens":7,"output_tokens":8}}}"#,
        ],
        ["", "a", "7", "8", "", ""],
    ),
    (
        "messages",
        Framing::Json,
        &[
            r#"{"id":"a","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"§","citations":["§"]},
            {"type":"thinking","thinking":"§","signature":"§"},{"type":"tool_use","id":"§","name":"§","input":"§"},
            {"type":"server_tool_use","input":"§"},{"type":"web_search_tool_result","content":"§"},
            {"type":"mcp_tool_result","is_error":true,"content":"§"}],"stop_reason":"tool_use","stop_sequence":"§","container":"§",
            "context_management":"§","usage":{"input_tokens":20,"output_tokens":12}}"#,
        ],
        ["m", "a", "20", "12", "tool_use", ""],
    ),
    (
        "messages stream",
        Framing::Sse,
        &[
            r#"{"type":"message_start","message":{"id":"a","type":"message","model":"m","content":["§"],"stop_reason":null,
               "stop_sequence":"§","usage":{"input_tokens":20,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"§","name":"§","input":"§"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":"§"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"§"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":"§"}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":"§","container":"§"},"usage":{"output_tokens":15}}"#,
            r#"{"type":"message_stop"}"#,
        ],
        ["m", "a", "20", "15", "end_turn", ""],
    ),
    (
        "gemini",
        Framing::Json,
        &[r#"{"candidates":[{"content":{"parts":[{"text":"§","thought":true},{"functionCall":{"name":"§","args":"§"}},
            {"functionResponse":{"response":"§"}},{"executableCode":"§"},{"codeExecutionResult":"§"}]},"finishReason":"STOP",
            "finishMessage":"§","citationMetadata":"§","groundingMetadata":{"groundingChunks":["§"],"searchEntryPoint":"§"},
            "logprobsResult":"§","urlContextMetadata":"§"}],"promptFeedback":"§",
            "usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":8},"modelVersion":"m","responseId":"a"}"#],
        ["m", "a", "9", "8", "STOP", ""],
    ),
    (
        "gemini array",
        Framing::Json,
        &[r#"[{"candidates":[{"content":{"parts":[{"text":"§"}]}}],"modelVersion":"m","responseId":"a"},
            {"candidates":[{"content":"§","finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":8},
            "modelVersion":"m","responseId":"a"},["§"]]"#],
        ["m", "a", "9", "8", "STOP", ""],
    ),
    (
        "gemini stream",
        Framing::Sse,
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"§"},{"functionCall":{"args":"§"}}]}}],"modelVersion":"m","responseId":"a"}"#,
            r#"{"candidates":[{"content":"§","finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":8},
               "modelVersion":"m","responseId":"a"}"#,
        ],
        ["m", "a", "9", "8", "STOP", ""],
    ),
    (
        "interactions",
        Framing::Json,
        &[r#"{"id":"a","object":"interaction","model":"m","status":"completed","outputs":[{"type":"text","text":"§"},
            {"type":"function_call","arguments":"§"},{"type":"function_result","result":"§"}],"steps":["§"],"input":"§",
            "system_instruction":"§","tools":["§"],"response_format":"§","previous_interaction_id":"§",
            "usage":{"total_input_tokens":4,"total_output_tokens":3,"total_thought_tokens":2}}"#],
        ["m", "a", "4", "5", "completed", ""],
    ),
    (
        "interactions stream",
        Framing::Sse,
        &[
            r#"{"event_type":"interaction.created","interaction":{"id":"a","object":"interaction","model":"m","input":"§"}}"#,
            r#"{"event_type":"step.start","step":"§"}"#,
            r#"{"event_type":"step.delta","delta":"§"}"#,
            r#"{"event_type":"content.delta","delta":{"type":"function_call","arguments":"§"}}"#,
            r#"{"event_type":"interaction.completed","interaction":{"id":"a","model":"m","outputs":["§"],"steps":["§"],
               "usage":{"total_input_tokens":4,"total_output_tokens":3,"total_thought_tokens":2}}}"#,
        ],
        ["m", "a", "4", "5", "completed", ""],
    ),
    (
        "converse",
        Framing::Json,
        &[
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"§"},{"toolUse":{"toolUseId":"§","name":"§","input":"§"}},
            {"reasoningContent":"§"},{"citationsContent":"§"}]}},"stopReason":"end_turn","additionalModelResponseFields":"§","trace":"§",
            "metrics":{"latencyMs":900},"usage":{"inputTokens":22,"outputTokens":9}}"#,
        ],
        ["", "", "22", "9", "end_turn", ""],
    ),
    (
        "converse stream",
        Framing::AwsEventStream,
        &[
            r#"{"role":"assistant"}"#,
            r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"§","name":"§"}}}"#,
            r#"{"contentBlockIndex":0,"delta":{"text":"§"}}"#,
            r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"§"}}}"#,
            r#"{"contentBlockIndex":0,"delta":"§"}"#,
            r#"{"stopReason":"end_turn","additionalModelResponseFields":"§"}"#,
            r#"{"metrics":{"latencyMs":900},"usage":{"inputTokens":22,"outputTokens":9},"trace":"§"}"#,
        ],
        ["", "", "22", "9", "end_turn", ""],
    ),
    (
        "nova stream",
        Framing::AwsEventStream,
        &[
            r#"{"messageStart":{"role":"assistant"}}"#,
            r#"{"contentBlockDelta":{"delta":{"text":"§"},"contentBlockIndex":0}}"#,
            r#"{"contentBlockDelta":{"delta":"§"}}"#,
            r#"{"messageStop":{"stopReason":"end_turn","additionalModelResponseFields":"§"}}"#,
            r#"{"metadata":{"usage":{"inputTokens":22,"outputTokens":9},"trace":"§"}}"#,
        ],
        ["", "", "22", "9", "end_turn", ""],
    ),
    (
        "llama",
        Framing::Json,
        &[r#"{"generation":"§","prompt_token_count":8,"generation_token_count":4,"stop_reason":"stop"}"#],
        ["", "", "8", "4", "stop", ""],
    ),
    (
        "titan",
        Framing::Json,
        &[r#"{"inputTextTokenCount":8,"results":[{"tokenCount":4,"outputText":"§","completionReason":"FINISH"}]}"#],
        ["", "", "8", "4", "FINISH", ""],
    ),
    (
        "mistral on bedrock",
        Framing::Json,
        &[r#"{"outputs":[{"text":"§","stop_reason":"length"}]}"#],
        ["", "", "", "", "length", ""],
    ),
    (
        "cohere v2",
        Framing::Json,
        &[
            r#"{"id":"a","message":{"role":"assistant","tool_plan":"§","content":[{"type":"text","text":"§"}],"tool_calls":[{"id":"§",
            "function":{"name":"§","arguments":"§"}}],"citations":["§"]},"finish_reason":"COMPLETE","logprobs":"§",
            "usage":{"billed_units":{"input_tokens":12,"output_tokens":7},"tokens":{"input_tokens":507}}}"#,
        ],
        ["", "a", "12", "7", "COMPLETE", ""],
    ),
    (
        "cohere v2 stream",
        Framing::Sse,
        &[
            r#"{"id":"a","type":"message-start","delta":{"message":"§"}}"#,
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"§"}}}}"#,
            r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"§"}}}"#,
            r#"{"type":"tool-call-start","delta":{"message":{"tool_calls":{"id":"§","function":"§"}}}}"#,
            r#"{"type":"tool-call-delta","delta":"§"}"#,
            r#"{"type":"citation-start","delta":{"message":{"citations":"§"}}}"#,
            r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":12,"output_tokens":7}}}}"#,
        ],
        ["", "a", "12", "7", "COMPLETE", ""],
    ),
    (
        "cohere v1",
        Framing::Json,
        &[
            r#"{"generation_id":"a","response_id":"b","text":"§","chat_history":["§"],"citations":["§"],"documents":["§"],
            "tool_calls":[{"name":"§","parameters":"§"}],"search_results":["§"],"finish_reason":"COMPLETE",
            "meta":{"billed_units":{"input_tokens":12,"output_tokens":7}}}"#,
        ],
        ["", "a", "12", "7", "COMPLETE", ""],
    ),
    (
        "cohere v1 stream",
        Framing::Lines,
        &[
            r#"{"event_type":"stream-start","generation_id":"a"}"#,
            r#"{"event_type":"text-generation","text":"§"}"#,
            r#"{"event_type":"tool-calls-generation","tool_calls":["§"]}"#,
            r#"{"event_type":"citation-generation","citations":["§"],"documents":["§"]}"#,
            r#"{"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"§","chat_history":["§"],"documents":["§"],
               "tool_calls":["§"],"meta":{"billed_units":{"input_tokens":12,"output_tokens":7}}}}"#,
        ],
        ["", "a", "12", "7", "COMPLETE", ""],
    ),
    (
        "rerank",
        Framing::Json,
        &[
            r#"{"id":"a","results":[{"index":0,"relevance_score":1,"document":"§"}],"meta":{"billed_units":{"search_units":1}}}"#,
        ],
        ["", "a", "", "", "", ""],
    ),
    (
        "mistral conversation",
        Framing::Json,
        &[
            r#"{"object":"conversation.response","conversation_id":"c","outputs":[{"type":"message.output","content":"§"},
            {"type":"function.call","arguments":"§"},{"type":"tool.execution","info":"§"}],"guardrails":"§",
            "usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
        ],
        ["", "", "1", "2", "", ""],
    ),
    (
        "mistral conversation stream",
        Framing::Sse,
        &[
            r#"{"type":"conversation.response.started","conversation_id":"c"}"#,
            r#"{"type":"message.output.delta","content":"§","output_index":0}"#,
            r#"{"type":"function.call.delta","arguments":"§","name":"§"}"#,
            r#"{"type":"conversation.response.done","usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
        ],
        ["", "", "1", "2", "", ""],
    ),
    (
        "workers-ai",
        Framing::Json,
        &[r#"{"result":{"response":"§","tool_calls":[{"name":"§","arguments":"§"}],
            "usage":{"prompt_tokens":20,"completion_tokens":8,"total_tokens":28}},"success":true,"errors":[],"messages":[]}"#],
        ["", "", "20", "8", "", ""],
    ),
    (
        "workers-ai without counts",
        Framing::Json,
        &[r#"{"success":true,"result":{"response":"§","description":"§","text":"§"},"errors":[],"messages":["§"]}"#],
        ["", "", "", "", "", ""],
    ),
    (
        "workers-ai chat",
        Framing::Json,
        &[
            r#"{"result":{"id":"a","object":"chat.completion","model":"m","choices":[{"message":{"content":"§","tool_calls":["§"]},
            "finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":8}},"success":true,"errors":[],"messages":[]}"#,
        ],
        ["m", "a", "20", "8", "stop", ""],
    ),
    (
        "workers-ai batch",
        Framing::Json,
        &[r#"{"result":{"request_id":"a","responses":[{"id":0,"result":{"response":"§"},"external_reference":"§"}],
            "usage":{"prompt_tokens":20,"completion_tokens":8}},"success":true,"errors":[]}"#],
        ["", "a", "20", "8", "", ""],
    ),
    (
        "workers-ai stream",
        Framing::Sse,
        &[
            r#"{"response":"§","p":"x"}"#,
            r#"{"response":"§","tool_calls":["§"],"p":"x"}"#,
            r#"{"response":"","usage":{"prompt_tokens":20,"completion_tokens":8}}"#,
        ],
        ["", "", "20", "8", "", ""],
    ),
    (
        "replicate",
        Framing::Json,
        &[
            r#"{"id":"a","model":"m","version":"v","input":"§","output":"§","logs":"§","error":null,"status":"succeeded",
            "created_at":"2026","metrics":{"input_token_count":11,"output_token_count":3},"webhook":"§","urls":{"get":"§"}}"#,
        ],
        ["m", "a", "11", "3", "", ""],
    ),
    (
        "replicate's list of outputs",
        Framing::Json,
        &[
            r#"{"id":"a","model":"m","output":[{"type":"web_search_call","usage":"§"},"§"],"response":"§","error":null}"#,
        ],
        ["m", "a", "", "", "", ""],
    ),
    (
        "hugging face",
        Framing::Json,
        &[
            r#"[{"generated_text":"§","details":{"finish_reason":"length","generated_tokens":4,"prefill":["§"],"tokens":["§"]}}]"#,
        ],
        ["", "", "", "4", "length", ""],
    ),
    (
        "hugging face stream",
        Framing::Sse,
        &[
            r#"{"token":{"id":1,"text":"§"},"generated_text":null,"details":null}"#,
            r#"{"token":{"text":"§"},"generated_text":"§","details":{"finish_reason":"length","generated_tokens":4}}"#,
        ],
        ["", "", "", "4", "length", ""],
    ),
    (
        "deepgram",
        Framing::Json,
        &[
            r#"{"metadata":{"request_id":"a","duration":2.5,"extra":"§","tags":"§"},"results":{"channels":[{"alternatives":[{"transcript":"§"}]}],
            "summary":"§","intents":"§"}}"#,
        ],
        ["", "a", "", "", "", ""],
    ),
    (
        "elevenlabs",
        Framing::Json,
        &[r#"{"text":"§","words":["§"],"transcription_id":"a","audio_duration_secs":2.5,"additional_formats":"§"}"#],
        ["", "a", "", "", "", ""],
    ),
    (
        "fal",
        Framing::Json,
        &[r#"{"request_id":"a","images":[{"url":"§"}],"prompt":"§","output":"§","payload":"§","logs":["§"]}"#],
        ["", "a", "", "", "", ""],
    ),
    ("ideogram", Framing::Json, &[r#"{"created":"x","data":[{"prompt":"§","url":"§"}]}"#], ["", "", "", "", "", ""]),
    (
        "parallel",
        Framing::Json,
        &[
            r#"{"run_id":"a","status":"completed","metadata":"§","created_at":"x","input":"§","output":{"content":"§","basis":["§"]},
            "error":null}"#,
        ],
        ["", "a", "", "", "", ""],
    ),
    (
        "perplexity later",
        Framing::Json,
        &[
            r#"{"id":"a","model":"m","created_at":1,"status":"COMPLETED","error_message":null,"response":{"id":"b","model":"m",
            "object":"chat.completion","choices":[{"message":{"content":"§"},"finish_reason":"stop"}],"citations":["§"],
            "usage":{"prompt_tokens":3,"completion_tokens":4}}}"#,
        ],
        ["m", "a", "3", "4", "stop", ""],
    ),
    (
        "error of anthropic",
        Framing::Sse,
        &[
            r#"{"type":"message_start","message":{"id":"a","model":"m","usage":{"input_tokens":20,"output_tokens":1}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"§"}}"#,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded","details":"§"}}"#,
        ],
        ["m", "a", "20", "1", "", "Overloaded"],
    ),
    (
        "error of groq",
        Framing::Json,
        &[
            r#"{"error":{"message":"Failed to call a function.","type":"invalid_request_error","failed_generation":"§","code":"tool_use_failed"}}"#,
        ],
        ["", "", "", "", "", "Failed to call a function."],
    ),
];

fn body(framing: Framing, documents: &[&str], fill: &str) -> Vec<u8> {
    let documents = documents.iter().map(|document| document.replace("\"§\"", fill).replace('\n', " "));
    match framing {
        Framing::Json | Framing::Lines => documents.collect::<Vec<_>>().join("\n").into_bytes(),
        Framing::Sse => documents.map(|document| format!("data: {document}\n\n")).collect::<String>().into_bytes(),
        Framing::AwsEventStream => documents.flat_map(|document| frame(&[], document.as_bytes())).collect(),
    }
}

/// The same frames as `InvokeModelWithResponseStream` wraps them.
fn wrapped(documents: &[&str], fill: &str) -> Vec<u8> {
    let documents = documents.iter().map(|document| document.replace("\"§\"", fill));
    documents
        .flat_map(|document| frame(&[], json!({ "bytes": STANDARD.encode(document) }).to_string().as_bytes()))
        .collect()
}

fn facts(format: &Format, fill: &str) -> Facts {
    let (_, framing, documents, _) = format;
    let facts = read(*framing, 200, &body(*framing, documents, fill));
    if *framing == Framing::AwsEventStream {
        assert_eq!(read(*framing, 200, &wrapped(documents, fill)), facts);
    }
    facts
}

/// Every name that means something somewhere.
const NAMES: &[&str] = &[
    "id",
    "responseId",
    "generation_id",
    "response_id",
    "request_id",
    "run_id",
    "model",
    "modelVersion",
    "type",
    "object",
    "event_type",
    "finish_reason",
    "finishReason",
    "stop_reason",
    "stopReason",
    "completionReason",
    "usage",
    "usageMetadata",
    "amazon-bedrock-invocationMetrics",
    "meta",
    "metrics",
    "x_groq",
    "prompt_token_count",
    "generation_token_count",
    "inputTextTokenCount",
    "tokenCount",
    "service_tier",
    "error",
    "errors",
    "err_msg",
    "last_error",
    "error_message",
    "message",
    "detail",
    "delta",
    "choices",
    "candidates",
    "output",
    "outputs",
    "results",
    "details",
    "response",
    "interaction",
    "result",
    "metadata",
    "messageStop",
    "custom_id",
    "success",
    "generated_text",
    "status",
    "created_at",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "promptTokenCount",
    "billed_units",
    "inputTokens",
    "duration",
    "text",
    "data",
    "images",
    "image",
    "predictions",
    "b64_json",
    "url",
    "size",
    "quality",
    "usage_info",
    "pages_processed",
    "transcription_info",
    "cost",
];

const TEXTS: &[&str] = &[
    "",
    "x",
    "stop",
    "error",
    "message_start",
    "message_delta",
    "message-end",
    "stream-end",
    "response.completed",
    "response.failed",
    "interaction.completed",
    "response",
    "chat.completion",
    "batch",
    "gpt-5-pro",
    "web_search_call",
    "\"usage\":{\"prompt_tokens\":9}",
    "}\n\ndata: {\"error\":\"no\"}\n\n",
    "[DONE]",
];

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        prop::sample::select(TEXTS).prop_map(Value::from),
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(999_999)),
        Just(json!({ "prompt_tokens": 999_999, "completion_tokens": 999_999, "input_tokens": 9, "cost": 5 })),
        Just(
            json!({ "usage": { "prompt_tokens": 999_999, "cost": 9 }, "error": "none", "stop_reason": "mine", "model": "mine", "id": "mine" })
        ),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec((prop::sample::select(NAMES), inner.clone()), 1..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
            }),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::Array),
        ]
    })
}

#[test]
fn every_format_says_what_it_has_to_say() {
    for format in FORMATS {
        let facts = facts(format, "\"x\"");
        let count = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
        let found = [
            facts.model.unwrap_or_default(),
            facts.response_id.unwrap_or_default(),
            count(facts.usage.tokens_in),
            count(facts.usage.tokens_out),
            facts.finish_reason.unwrap_or_default(),
            facts.error.unwrap_or_default(),
        ];
        assert_eq!(found, format.3, "{}", format.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_users_and_models_write_the_facts_are_the_same(words in anything()) {
        static WANTED: LazyLock<Vec<Facts>> = LazyLock::new(|| FORMATS.iter().map(|format| facts(format, "\"x\"")).collect());
        for (format, wanted) in FORMATS.iter().zip(WANTED.iter()) {
            prop_assert_eq!(&facts(format, &words.to_string()), wanted, "{} with {}", format.0, words);
            let text = Value::from(words.to_string()).to_string();
            prop_assert_eq!(&facts(format, &text), wanted, "{} with the text {}", format.0, words);
        }
    }
}

/// An error that says nothing is none: providers write it beside answers that went well.
#[test]
fn an_empty_error_is_none_and_any_other_is_one() {
    let answer = |error: Value| {
        let body = json!({ "id": "a", "object": "chat.completion", "model": "m", "choices": [], "error": error });
        let event = format!("data: {body}\n\ndata: [DONE]\n\n");
        let whole = read(Framing::Json, 200, body.to_string().as_bytes()).error;
        assert_eq!(read(Framing::Sse, 200, event.as_bytes()).error, whole, "{body}");
        whole
    };
    for none in [
        json!(null),
        json!(""),
        json!(" "),
        json!({}),
        json!([]),
        json!(false),
        json!(0),
        json!({ "code": null, "message": null, "param": null }),
        json!({ "message": "" }),
        json!([{}, ""]),
    ] {
        assert_eq!(answer(none.clone()), None, "{none}");
    }
    for (some, wanted) in [
        (json!("busy"), "busy"),
        (json!({ "message": "busy", "type": "overloaded" }), "busy"),
        (json!({ "type": "overloaded" }), "overloaded"),
        (json!({ "code": 503, "message": "" }), "503"),
        (json!([{ "msg": "field required" }]), "field required"),
        (json!({ "message": { "detail": [{ "loc": ["body"], "msg": "no" }] } }), "no"),
    ] {
        assert_eq!(answer(some.clone()).as_deref(), Some(wanted), "{some}");
    }
}

/// Every way in which providers say within a stream, or with the status 200, that it went wrong.
#[test]
fn errors_within_answers_are_found() {
    for (event, wanted) in [
        (r#"{"error":{"message":"busy","code":"x"}}"#, "busy"),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#, "busy"),
        (r#"{"type":"error","code":"rate_limit","message":"busy","param":null}"#, "busy"),
        (r#"{"type":"error"}"#, "error"),
        (
            r#"{"type":"response.failed","response":{"id":"a","error":{"code":"server_error","message":"busy"}}}"#,
            "busy",
        ),
        (r#"{"type":"response.failed","response":{"id":"a","error":null}}"#, "response.failed"),
        (
            r#"{"id":"a","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"error":{"message":"busy"}}]}"#,
            "busy",
        ),
        (r#"{"choices":[{"finish_reason":"error"}],"error":{"code":502,"message":"busy"}}"#, "busy"),
        (r#"{"x_groq":{"id":"a","error":"busy"}}"#, "busy"),
        (r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"busy"}}"#, "busy"),
        (r#"{"event_type":"stream-end","finish_reason":"ERROR","error":"busy"}"#, "busy"),
        (r#"{"type":"conversation.response.error","message":"busy","code":1}"#, "busy"),
        (r#"{"event_type":"error","error":{"message":"busy","code":"x"}}"#, "busy"),
        (
            r#"{"id":"r","object":"thread.run","status":"failed","last_error":{"code":"server_error","message":"busy"}}"#,
            "busy",
        ),
        (r#"{"result":null,"success":false,"errors":[{"code":1,"message":"busy"}],"messages":[]}"#, "busy"),
        (r#"{"error":"busy","error_type":"overloaded"}"#, "busy"),
        (r#"{"object":"error","message":"busy","type":"x"}"#, "busy"),
    ] {
        let quiet = "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[]}\n\n".repeat(20);
        let stream = format!("{quiet}data: {event}\n\n");
        assert_eq!(read(Framing::Sse, 200, stream.as_bytes()).error.as_deref(), Some(wanted), "{event}");
        assert_eq!(read(Framing::Json, 200, event.as_bytes()).error.as_deref(), Some(wanted), "{event}");
    }
    let named = b"event: output\ndata: {\"error\":\"mine\",\"usage\":{\"prompt_tokens\":9}}\n\nevent: error\ndata: the machine stopped\n\n";
    let facts = read(Framing::Sse, 200, named);
    assert_eq!((facts.error.as_deref(), facts.usage.tokens_in), (Some("the machine stopped"), None));
    let failed = frame(&[(":message-type", "exception"), (":exception-type", "modelTimeoutException")], b"{}");
    assert_eq!(read(Framing::AwsEventStream, 200, &failed).error.as_deref(), Some("modelTimeoutException"));
}

/// What a price may depend on stands beside the counts.
#[test]
fn tiers_and_calls_of_tools_are_found() {
    let output = json!([
        { "type": "web_search_call", "status": "completed" }, { "type": "message", "content": [{ "type": "file_search_call" }] },
        { "type": "web_search_call" }
    ]);
    let response = json!({ "id": "a", "object": "response", "model": "m", "output": output, "service_tier": "flex" });
    let whole = read(Framing::Json, 200, response.to_string().as_bytes());
    let started = json!({ "type": "response.created", "response": { "object": "response", "service_tier": "auto", "output": [] } });
    let ended = json!({ "type": "response.completed", "response": { "usage": { "input_tokens": 1 }, "object": "response", "output": output, "service_tier": "flex" } });
    let stream = read(Framing::Sse, 200, format!("data: {started}\n\ndata: {ended}\n\n").as_bytes());
    for facts in [whole, stream] {
        let details = facts.usage.details;
        assert_eq!((details.tier, details.number(Count::WebSearches)), (Some(Tier::Flex), 2));
        assert_eq!(details.get(Count::FileSearches), None);
    }
    let grounded = json!({ "candidates": [{ "groundingMetadata": { "webSearchQueries": ["a", "b"] } }] });
    let facts = read(Framing::Json, 200, grounded.to_string().as_bytes());
    assert_eq!(facts.usage.details.get(Count::WebSearches), Some(2));
    let converse = json!({ "output": {}, "usage": { "inputTokens": 1 }, "serviceTier": { "type": "priority" } });
    let facts = read(Framing::Json, 200, converse.to_string().as_bytes());
    assert_eq!(facts.usage.details.tier, Some(Tier::Priority));
}

/// How a response, an interaction or a run ended stands in its status, or in the reason why it did not end well.
#[test]
fn what_has_a_status_ends_by_it() {
    let response = |status: &str, more: Value| {
        let mut response = json!({ "id": "a", "object": "response", "model": "m", "status": status, "output": [], "usage": { "input_tokens": 1, "output_tokens": 1 } });
        response.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        response
    };
    let reason = json!({ "incomplete_details": { "reason": "max_output_tokens" } });
    for (status, more, wanted) in [
        ("completed", json!({ "incomplete_details": null }), Some("completed")),
        ("incomplete", reason, Some("max_output_tokens")),
        ("failed", json!({ "error": { "code": "server_error", "message": "busy" } }), Some("failed")),
        ("cancelled", json!({}), Some("cancelled")),
        ("in_progress", json!({}), None),
        ("queued", json!({}), None),
    ] {
        let whole = response(status, more);
        assert_eq!(read(Framing::Json, 200, whole.to_string().as_bytes()).finish_reason.as_deref(), wanted, "{status}");
        let begun = response("in_progress", json!({}));
        let kind = if wanted.is_some() { status } else { "in_progress" };
        let stream = format!(
            "data: {}\n\ndata: {}\n\n",
            json!({ "type": "response.created", "response": begun }),
            json!({ "type": format!("response.{kind}"), "response": whole })
        );
        assert_eq!(read(Framing::Sse, 200, stream.as_bytes()).finish_reason.as_deref(), wanted, "{status} in a stream");
    }
    for (event, wanted) in [
        (
            json!({ "type": "response.done", "response": { "object": "realtime.response", "status": "cancelled", "status_details": { "reason": "turn_detected" } } }),
            Some("turn_detected"),
        ),
        (
            json!({ "type": "response.done", "response": { "object": "realtime.response", "status": "completed", "status_details": null } }),
            Some("completed"),
        ),
        (
            json!({ "event_type": "interaction.completed", "interaction": { "id": "a", "status": "completed" } }),
            Some("completed"),
        ),
        (
            json!({ "event_type": "interaction.created", "interaction": { "id": "a", "object": "interaction", "status": "in_progress" } }),
            None,
        ),
        (json!({ "id": "r", "object": "thread.run", "status": "expired" }), Some("expired")),
        (json!({ "id": "b", "object": "batch", "status": "completed" }), None),
    ] {
        let facts = read(Framing::Sse, 200, format!("data: {event}\n\n").as_bytes());
        assert_eq!(facts.finish_reason.as_deref(), wanted, "{event}");
    }
    // An interaction that wants a tool's result is over, and what it used is told.
    let wants = json!({ "id": "a", "object": "interaction", "status": "requires_action", "usage": { "total_input_tokens": 4 } });
    let facts = read(Framing::Json, 200, wants.to_string().as_bytes());
    assert_eq!((facts.finish_reason.as_deref(), facts.thing.is_open), (Some("requires_action"), false));
    let open = json!({ "id": "a", "object": "interaction", "status": "in_progress" });
    assert!(read(Framing::Json, 200, open.to_string().as_bytes()).thing.is_open);
}
