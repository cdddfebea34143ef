"""PyPI's `langchain-openai`, plain and Azure."""

import openai
from _case import CITY, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI, AzureOpenAIEmbeddings, ChatOpenAI, OpenAIEmbeddings


@tool
def weather(city: str) -> str:
    """Tells the weather of a city."""
    return "rain"


def plain(at, key=None, headers=None, **more):
    return ChatOpenAI(model="gpt-4o", api_key=key or at.key, base_url=f"{at.url}/openai", default_headers=at.headers if headers is None else headers, max_retries=0, stream_usage=True, **more)


def azure(at, key=None, headers=None, **more):
    return AzureChatOpenAI(azure_deployment="my-deployment", api_key=key or at.key, azure_endpoint=f"{at.url}/azure-openai/{at.resource}", api_version="2024-10-21", default_headers=at.headers if headers is None else headers, max_retries=0, stream_usage=True, **more)


def plain_embeddings(at):
    # Without the check it sends texts and not tokens, for which it would fetch a list from elsewhere.
    return OpenAIEmbeddings(model="text-embedding-3-small", api_key=at.key, base_url=f"{at.url}/openai", default_headers=at.headers, max_retries=0, check_embedding_ctx_length=False)


def azure_embeddings(at):
    return AzureOpenAIEmbeddings(azure_deployment="my-embeddings", api_key=at.key, azure_endpoint=f"{at.url}/azure-openai/{at.resource}", api_version="2024-10-21", default_headers=at.headers, max_retries=0, check_embedding_ctx_length=False)


def common(client, embedder):
    def chat(at):
        same(client(at).invoke(PROMPT).content, TEXT)

    def stream(at):
        same(gather((chunk.content for chunk in client(at).stream(PROMPT)), at.first), TEXT)

    def tools(at):
        bound = client(at).bind_tools([weather])
        asked = HumanMessage("How is the weather?")
        first = bound.invoke([asked])
        same([(call["name"], call["args"]) for call in first.tool_calls], [("weather", {"city": CITY})])
        result = ToolMessage(weather.invoke(first.tool_calls[0]["args"]), tool_call_id=first.tool_calls[0]["id"])
        same("".join(chunk.content for chunk in bound.stream([asked, first, result])), WEATHER)

    def embeddings(at):
        same([len(one) for one in embedder(at).embed_documents(["lunch", "dinner"])], [8, 8])

    def errors(at):
        raises(openai.RateLimitError, lambda: client(at).invoke(failing(429)), 429)
        raises(openai.InternalServerError, lambda: client(at).invoke(failing(500)), 500)

    def token(at):
        same(client(at, key=at.token, headers={}).invoke(PROMPT).content, TEXT)
        same("".join(chunk.content for chunk in client(at, key="unused").stream(PROMPT)), TEXT)

    def feedback(at):
        at.judge(client(at, include_response_headers=True).invoke(PROMPT).response_metadata["headers"]["cf-aig-log-id"])

    none = "it has no files API"
    return dict(chat=chat, stream=stream, tools=tools, files=none, embeddings=embeddings, media="it makes none", errors=errors, token=token, feedback=feedback)


run("langchain-openai (PyPI), ChatOpenAI", "langchain-openai", ["openai"], common(plain, plain_embeddings))
run("langchain-openai (PyPI), AzureChatOpenAI", "langchain-openai", ["azure-openai"], common(azure, azure_embeddings))
