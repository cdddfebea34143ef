"""PyPI's `cohere`."""

import json

import cohere
import httpx
from _case import CITY, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same
from cohere.core.api_error import ApiError

MODEL = "command-a-03-2025"
ASK = [{"role": "user", "content": PROMPT}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
NO_RETRY = {"max_retries": 0}


def client(at, key=None, headers=None):
    return cohere.ClientV2(api_key=key or at.key, base_url=f"{at.url}/cohere", httpx_client=httpx.Client(headers=at.headers if headers is None else headers))


def chat(at):
    same(client(at).chat(model=MODEL, messages=ASK).message.content[0].text, TEXT)


def stream(at):
    events = client(at).chat_stream(model=MODEL, messages=ASK)
    same(gather((event.delta.message.content.text for event in events if event.type == "content-delta"), at.first), TEXT)


def tools(at):
    asked = [{"role": "user", "content": "How is the weather?"}]
    message = client(at).chat(model=MODEL, messages=asked, tools=TOOLS).message
    call = message.tool_calls[0]
    same((call.function.name, json.loads(call.function.arguments)), ("weather", {"city": CITY}))
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    events = client(at).chat_stream(model=MODEL, messages=[*asked, message, result], tools=TOOLS)
    same("".join(event.delta.message.content.text for event in events if event.type == "content-delta"), WEATHER)


def embeddings(at):
    same(len(client(at).embed(model="embed-v4.0", input_type="search_query", texts=["lunch", "dinner"], embedding_types=["float"]).embeddings.float), 2)
    same(client(at).rerank(model="rerank-v3.5", query="lunch", documents=["ramen", "rain"]).results[0].index, 0)


def errors(at):
    ask = lambda status: client(at).chat(model=MODEL, messages=[{"role": "user", "content": failing(status)}], request_options=NO_RETRY)
    raises(cohere.TooManyRequestsError, lambda: ask(429), 429)
    raises(ApiError, lambda: ask(500), 500)


def token(at):
    same(client(at, key=at.token, headers={}).chat(model=MODEL, messages=ASK).message.content[0].text, TEXT)
    same(client(at, key="unused").chat(model=MODEL, messages=ASK).message.content[0].text, TEXT)


def feedback(at):
    at.judge(client(at).with_raw_response.chat(model=MODEL, messages=ASK).headers["cf-aig-log-id"])


run("cohere (PyPI)", "cohere", ["cohere"], dict(chat=chat, stream=stream, tools=tools, files="the provider takes datasets, and no files", embeddings=embeddings, media="the provider makes none", errors=errors, token=token, feedback=feedback))
