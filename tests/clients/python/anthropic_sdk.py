"""PyPI's `anthropic`."""

import anthropic
from _case import CITY, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same

TOOLS = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]


def client(at, **more):
    given = {"api_key": at.key, "default_headers": at.headers, **more}
    return anthropic.Anthropic(base_url=f"{at.url}/anthropic", max_retries=0, **given)


def asked(content, **more):
    return {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}


def chat(at):
    same(client(at).messages.create(**asked(PROMPT)).content[0].text, TEXT)
    same(client(at).messages.count_tokens(model="claude-sonnet-4-5", messages=asked(PROMPT)["messages"]).input_tokens, 20)


def stream(at):
    with client(at).messages.stream(**asked(PROMPT)) as events:
        same(gather(events.text_stream, at.first), TEXT)


def tools(at):
    with client(at).messages.stream(**asked("How is the weather?", tools=TOOLS)) as events:
        first = events.get_final_message()
    call = first.content[0]
    same((call.name, call.input, first.stop_reason), ("weather", {"city": CITY}, "tool_use"))
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]}
    messages = [{"role": "user", "content": "How is the weather?"}, {"role": "assistant", "content": first.content}, result]
    same(client(at).messages.create(**{**asked("", tools=TOOLS), "messages": messages}).content[0].text, WEATHER)


def files(at):
    made = client(at).beta.files.upload(file=("a.txt", b"ramen", "text/plain"))
    same(client(at).beta.files.retrieve_metadata(made.id).filename, "a.txt")
    client(at).beta.files.delete(made.id)
    # A batch's results are at an address that its answer names, and the client follows it with its credential.
    batches = client(at).messages.batches
    batch = batches.create(requests=[{"custom_id": "one", "params": asked(PROMPT)}])
    same(batches.retrieve(batch.id).processing_status, "ended")
    same([one.result.message.content[0].text for one in batches.results(batch.id)], [TEXT])


def errors(at):
    ask = lambda status: client(at).messages.create(**asked(failing(status)))
    raises(anthropic.RateLimitError, lambda: ask(429), 429)
    raises(anthropic.InternalServerError, lambda: ask(500), 500)


def token(at):
    same(client(at, api_key=at.token, default_headers={}).messages.create(**asked(PROMPT)).content[0].text, TEXT)
    with client(at, api_key="unused").messages.stream(**asked(PROMPT)) as events:
        same(events.get_final_text(), TEXT)


def feedback(at):
    at.judge(client(at).messages.with_raw_response.create(**asked(PROMPT)).headers["cf-aig-log-id"])


run("anthropic (PyPI)", "anthropic", ["anthropic"], dict(chat=chat, stream=stream, tools=tools, files=files, embeddings="the provider has none", media="the provider makes none", errors=errors, token=token, feedback=feedback))
