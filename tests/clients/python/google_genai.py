"""PyPI's `google-genai`."""

import io

from _case import CITY, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same
from google import genai
from google.genai import errors as google_errors
from google.genai import types

MODEL = "gemini-2.5-flash"
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}))])


# A client that is not held any more closes its connections in the middle of its work.
held = []


def client(at, key=None, headers=None):
    options = types.HttpOptions(base_url=f"{at.url}/google-ai-studio", headers=at.headers if headers is None else headers)
    held.append(genai.Client(api_key=key or at.key, vertexai=False, http_options=options))
    return held[-1]


def chat(at):
    same(client(at).models.generate_content(model=MODEL, contents=PROMPT).text, TEXT)


def stream(at):
    chunks = client(at).models.generate_content_stream(model=MODEL, contents=PROMPT)
    same(gather((chunk.text for chunk in chunks), at.first), TEXT)


def tools(at):
    config = types.GenerateContentConfig(tools=[TOOL])
    first = client(at).models.generate_content(model=MODEL, contents="How is the weather?", config=config)
    call = first.function_calls[0]
    same((call.name, call.args), ("weather", {"city": CITY}))
    asked = types.Content(role="user", parts=[types.Part(text="How is the weather?")])
    result = types.Content(role="user", parts=[types.Part.from_function_response(name="weather", response={"weather": "rain"})])
    chunks = client(at).models.generate_content_stream(model=MODEL, contents=[asked, first.candidates[0].content, result], config=config)
    same("".join(chunk.text for chunk in chunks), WEATHER)


def files(at):
    # Two requests: the second goes to an address that the first one's answer names, without a key.
    made = client(at).files.upload(file=io.BytesIO(b"ramen"), config={"mime_type": "text/plain", "display_name": "a.txt"})
    same(client(at).files.get(name=made.name).display_name, "a.txt")
    client(at).files.delete(name=made.name)


def embeddings(at):
    same(len(client(at).models.embed_content(model="gemini-embedding-001", contents=["lunch", "dinner"]).embeddings), 2)


def errors(at):
    ask = lambda status: client(at).models.generate_content(model=MODEL, contents=failing(status))
    raises(google_errors.ClientError, lambda: ask(429), 429)
    raises(google_errors.ServerError, lambda: ask(500), 500)


def token(at):
    same(client(at, key=at.token, headers={}).models.generate_content(model=MODEL, contents=PROMPT).text, TEXT)
    same("".join(chunk.text for chunk in client(at, key="unused").models.generate_content_stream(model=MODEL, contents=PROMPT)), TEXT)


def feedback(at):
    at.judge(client(at).models.generate_content(model=MODEL, contents=PROMPT).sdk_http_response.headers["cf-aig-log-id"])


run("google-genai (PyPI)", "google-genai", ["google-ai-studio"], dict(socket="not tried here", chat=chat, stream=stream, tools=tools, files=files, embeddings=embeddings, media="it makes images with Vertex AI only", errors=errors, token=token, feedback=feedback))
