"""PyPI's `openai`, and its Azure."""

import json

import openai
from _case import CITY, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
PREVIEW = "2025-04-01-preview"
ASK = [{"role": "user", "content": PROMPT}]
WEATHER_ASKED = [{"role": "user", "content": "How is the weather?"}]


def plain(at, version=None, **more):
    given = {"api_key": at.key, "default_headers": at.headers, **more}
    return openai.OpenAI(base_url=f"{at.url}/openai", max_retries=0, **given)


def azure(at, version="2024-10-21", **more):
    given = {"api_key": at.key, "default_headers": at.headers, **more}
    return openai.AzureOpenAI(azure_endpoint=f"{at.url}/azure-openai/{at.resource}", api_version=version, max_retries=0, **given)


def common(client, model, media):
    def chat(at):
        same(client(at).chat.completions.create(model=model, messages=ASK).choices[0].message.content, TEXT)
        same(client(at, PREVIEW).responses.create(model=model, input=PROMPT).output_text, TEXT)

    def stream(at):
        chunks = client(at).chat.completions.create(model=model, messages=ASK, stream=True, stream_options={"include_usage": True})
        same(gather((chunk.choices[0].delta.content for chunk in chunks if chunk.choices), at.first), TEXT)
        events = list(client(at, PREVIEW).responses.create(model=model, input=PROMPT, stream=True))
        same(events[-1].type, "response.completed")

    def tools(at):
        message = client(at).chat.completions.create(model=model, messages=WEATHER_ASKED, tools=TOOLS).choices[0].message
        call = message.tool_calls[0]
        same((call.function.name, json.loads(call.function.arguments)), ("weather", {"city": CITY}))
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        with client(at).chat.completions.stream(model=model, messages=[*WEATHER_ASKED, message, result], tools=TOOLS, stream_options={"include_usage": True}) as events:
            same(events.get_final_completion().choices[0].message.content, WEATHER)
        declared = [{"type": "function", **TOOLS[0]["function"]}]
        first = client(at, PREVIEW).responses.create(model=model, input=WEATHER_ASKED, tools=declared)
        output = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "rain"}
        same(client(at, PREVIEW).responses.create(model=model, input=[*WEATHER_ASKED, *first.output, output], tools=declared).output_text, WEATHER)

    def files(at):
        made = client(at).files.create(file=("a.jsonl", b'{"a":1}\n'), purpose="batch")
        same(client(at).files.retrieve(made.id).filename, "a.jsonl")
        same(client(at).files.content(made.id).read(), b'{"a":1}\n')
        same(len(client(at).files.list().data), 1)
        same(client(at).files.delete(made.id).deleted, True)

    def embeddings(at):
        data = client(at).embeddings.create(model="text-embedding-3-small", input=["lunch", "dinner"]).data
        same([len(one.embedding) for one in data], [8, 8])

    def errors(at):
        ask = lambda status: client(at).chat.completions.create(model=model, messages=[{"role": "user", "content": failing(status)}])
        raises(openai.RateLimitError, lambda: ask(429), 429)
        raises(openai.InternalServerError, lambda: ask(500), 500)

    def token(at):
        same(client(at, api_key=at.token, default_headers={}).chat.completions.create(model=model, messages=ASK).choices[0].message.content, TEXT)
        chunks = client(at, api_key="unused").chat.completions.create(model=model, messages=ASK, stream=True, stream_options={"include_usage": True})
        same("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), TEXT)

    def feedback(at):
        at.judge(client(at).chat.completions.with_raw_response.create(model=model, messages=ASK).headers["cf-aig-log-id"])

    return dict(chat=chat, stream=stream, tools=tools, files=files, embeddings=embeddings, media=media, errors=errors, token=token, feedback=feedback)


def media(at):
    assert plain(at).images.generate(model="gpt-image-1", prompt="ramen").data[0].b64_json.startswith("iVBOR")
    sound = plain(at).audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="ramen").read()
    same(plain(at).audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.mp3", sound)).text, TEXT)


def azure_media(at):
    assert azure(at).images.generate(model="my-images", prompt="ramen").data[0].b64_json.startswith("iVBOR")


def socket(at):
    """Two responses over one connection. Its WebSockets have no default headers, so the token is its key."""
    url = f"{at.url}/openai".replace("http", "ws", 1)
    with plain(at, api_key=at.token, default_headers={}, websocket_base_url=url).responses.connect() as connection:
        for _ in range(2):
            connection.response.create(model="gpt-4o", input=PROMPT)
            last = next(event for event in connection if event.type in ("response.completed", "error"))
            same(last.response.output_text, TEXT)


socket.settings = {"keys": True}

run("openai (PyPI)", "openai", ["openai"], {"socket": socket, **common(plain, "gpt-4o", media)})
run("openai (PyPI), AzureOpenAI", "openai", ["azure-openai"], {"socket": "see openai", **common(azure, "my-deployment", azure_media)})
