"""PyPI's `mistralai`."""

import json

import httpx
from _case import CITY, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same
from mistralai.client import Mistral, errors as mistral_errors

MODEL = "mistral-small-latest"
ASK = [{"role": "user", "content": PROMPT}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def client(at, key=None, headers=None, hook=None):
    hooks = {"response": [hook]} if hook else {}
    http = httpx.Client(headers=at.headers if headers is None else headers, follow_redirects=True, event_hooks=hooks)
    return Mistral(api_key=key or at.key, server_url=f"{at.url}/mistral", client=http)


def chat(at):
    same(client(at).chat.complete(model=MODEL, messages=ASK).choices[0].message.content, TEXT)


def stream(at):
    with client(at).chat.stream(model=MODEL, messages=ASK) as events:
        same(gather((event.data.choices[0].delta.content for event in events), at.first), TEXT)


def tools(at):
    asked = [{"role": "user", "content": "How is the weather?"}]
    message = client(at).chat.complete(model=MODEL, messages=asked, tools=TOOLS).choices[0].message
    call = message.tool_calls[0]
    same((call.function.name, json.loads(call.function.arguments)), ("weather", {"city": CITY}))
    result = {"role": "tool", "name": "weather", "tool_call_id": call.id, "content": "rain"}
    with client(at).chat.stream(model=MODEL, messages=[*asked, message, result], tools=TOOLS) as events:
        same("".join(event.data.choices[0].delta.content or "" for event in events), WEATHER)


def files(at):
    made = client(at).files.upload(file={"file_name": "a.jsonl", "content": b'{"a":1}\n'}, purpose="batch")
    same(client(at).files.retrieve(file_id=made.id).filename, "a.jsonl")
    same(client(at).files.download(file_id=made.id).read(), b'{"a":1}\n')
    same(client(at).files.delete(file_id=made.id).deleted, True)
    pages = client(at).ocr.process(model="mistral-ocr-latest", document={"type": "document_url", "document_url": "https://example.com/a.pdf"}).pages
    same(pages[0].markdown, "# Ramen")


def embeddings(at):
    same(len(client(at).embeddings.create(model="mistral-embed", inputs=["lunch", "dinner"]).data), 2)


def media(at):
    heard = client(at).audio.transcriptions.complete(model="voxtral-mini-latest", file={"file_name": "a.mp3", "content": b"\xff\xfb\x90\x00"})
    same(heard.text, TEXT)


def errors(at):
    ask = lambda status: client(at).chat.complete(model=MODEL, messages=[{"role": "user", "content": failing(status)}])
    raises(mistral_errors.SDKError, lambda: ask(429), 429)
    raises(mistral_errors.SDKError, lambda: ask(500), 500)


def token(at):
    same(client(at, key=at.token, headers={}).chat.complete(model=MODEL, messages=ASK).choices[0].message.content, TEXT)
    same(client(at, key="unused").chat.complete(model=MODEL, messages=ASK).choices[0].message.content, TEXT)


def feedback(at):
    seen = []
    client(at, hook=lambda answer: seen.append(answer.headers["cf-aig-log-id"])).chat.complete(model=MODEL, messages=ASK)
    at.judge(seen[0])


run("mistralai (PyPI)", "mistralai", ["mistral"], dict(chat=chat, stream=stream, tools=tools, files=files, embeddings=embeddings, media=media, errors=errors, token=token, feedback=feedback))
