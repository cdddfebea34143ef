"""PyPI's `litellm`, to five providers."""

import json

import litellm
from _case import CITY, NO_HEADERS, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same

litellm.suppress_debug_info = True
litellm.drop_params = True
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def openai(at):
    return dict(model="openai/gpt-4o", api_base=f"{at.url}/openai")


def azure(at):
    return dict(model="azure/my-deployment", api_base=f"{at.url}/azure-openai/{at.resource}", api_version="2024-10-21")


def anthropic(at):
    return dict(model="anthropic/claude-sonnet-4-5", api_base=f"{at.url}/anthropic", max_tokens=100)


def gemini(at):
    return dict(model="gemini/gemini-2.5-flash", api_base=f"{at.url}/google-ai-studio/v1beta")


def bedrock(at):
    return dict(model="bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", aws_bedrock_runtime_endpoint=f"{at.url}/aws-bedrock/bedrock-runtime/us-east-1", aws_region_name="us-east-1")


def common(place, embed, files, media):
    def ask(at, content, key=None, headers=None, **more):
        messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
        usage = {"stream_options": {"include_usage": True}} if more.get("stream") else {}
        return litellm.completion(**place(at), messages=messages, api_key=key or at.key, extra_headers=at.headers if headers is None else headers, num_retries=0, max_retries=0, **usage, **more)

    def pieces(chunks):
        return (chunk.choices[0].delta.content for chunk in chunks if chunk.choices)

    def chat(at):
        same(ask(at, PROMPT).choices[0].message.content, TEXT)

    def stream(at):
        same(gather(pieces(ask(at, PROMPT, stream=True)), at.first), TEXT)

    def tools(at):
        asked = [{"role": "user", "content": "How is the weather?"}]
        message = ask(at, asked, tools=TOOLS).choices[0].message
        call = message.tool_calls[0]
        same((call.function.name, json.loads(call.function.arguments)), ("weather", {"city": CITY}))
        result = {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "rain"}
        same("".join(piece or "" for piece in pieces(ask(at, [*asked, message.model_dump(), result], tools=TOOLS, stream=True))), WEATHER)

    def embeddings(at):
        made = litellm.embedding(**{**place(at), **embed}, input=["lunch"], api_key=at.key, extra_headers=at.headers, max_retries=0)
        same(len(made.data), 1)

    def errors(at):
        raises(litellm.RateLimitError, lambda: ask(at, failing(429)), 429)
        raises((litellm.InternalServerError, litellm.APIError, litellm.ServiceUnavailableError), lambda: ask(at, failing(500)))

    def token(at):
        same(ask(at, PROMPT, key="unused").choices[0].message.content, TEXT)
        same("".join(piece or "" for piece in pieces(ask(at, PROMPT, key=at.token, headers={}, stream=True))), TEXT)

    return dict(chat=chat, stream=stream, tools=tools, files=files, embeddings=embeddings if isinstance(embed, dict) else embed, media=media, errors=errors, token=token, feedback=NO_HEADERS)


def openai_files(at):
    given = dict(custom_llm_provider="openai", api_base=f"{at.url}/openai", api_key=at.token)
    made = litellm.create_file(file=("a.jsonl", b'{"a":1}\n'), purpose="batch", **given)
    same(litellm.file_retrieve(made.id, **given).filename, "a.jsonl")
    same(litellm.file_content(made.id, **given).content, b'{"a":1}\n')
    same(litellm.file_delete(made.id, **given).deleted, True)


def openai_media(at):
    given = dict(api_base=f"{at.url}/openai", api_key=at.token)
    assert litellm.image_generation(model="openai/gpt-image-1", prompt="ramen", **given).data[0].b64_json.startswith("iVBOR")


def azure_media(at):
    given = dict(api_base=f"{at.url}/azure-openai/{at.resource}", api_version="2024-10-21", api_key=at.token)
    assert litellm.image_generation(model="azure/my-images", prompt="ramen", **given).data[0].b64_json.startswith("iVBOR")


# Of what is no chat, litellm sends extra headers in the body, or not at all: there it has the token as its key.
for how in (openai_files, openai_media, azure_media):
    how.settings = {"keys": True}

NO_FILES = "it has no files API for this provider"
run("litellm (PyPI), openai", "litellm", ["openai"], common(openai, {"model": "openai/text-embedding-3-small"}, openai_files, openai_media))
run("litellm (PyPI), azure", "litellm", ["azure-openai"], common(azure, {"model": "azure/my-embeddings"}, "see litellm, openai", azure_media))
run("litellm (PyPI), anthropic", "litellm", ["anthropic"], common(anthropic, "the provider has none", NO_FILES, "the provider makes none"))
run("litellm (PyPI), gemini", "litellm", ["google-ai-studio"], common(gemini, {"model": "gemini/gemini-embedding-001"}, "not tried", "not tried"))
run("litellm (PyPI), bedrock", "litellm", ["aws-bedrock"], common(bedrock, {"model": "bedrock/amazon.titan-embed-text-v2:0"}, NO_FILES, "not tried"))
