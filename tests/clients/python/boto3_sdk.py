"""PyPI's `boto3`: the runtime of Bedrock, with a key of Bedrock's, and signed with the keys that the gateway stores."""

import json

import boto3
from _case import CITY, PROMPT, TEXT, WEATHER, failing, gather, raises, run, same
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ASK = [{"role": "user", "content": [{"text": PROMPT}]}]
TOOLS = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}}}}]}


def client(at, key=None, headers=None):
    """With a key of Bedrock's, as a bearer, or signed with credentials that say that they are not used."""
    signed = key == "unused"
    # AWS_BEARER_TOKEN_BEDROCK does the same, and wants an https endpoint.
    bearer = {} if signed else {"authorization": f"Bearer {key or at.key}"}
    made = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"{at.url}/aws-bedrock/bedrock-runtime/us-east-1",
        config=Config(retries={"total_max_attempts": 1}, **({} if signed else {"signature_version": UNSIGNED})),
        **({"aws_access_key_id": "unused", "aws_secret_access_key": "unused"} if signed else {}),
    )

    def add(request, **_):
        for name, value in {**bearer, **(at.headers if headers is None else headers)}.items():
            request.headers[name] = value

    made.meta.events.register("before-send.bedrock-runtime.*", add)
    return made


def text(answer):
    return answer["output"]["message"]["content"][0]["text"]


def pieces(answer):
    return (event["contentBlockDelta"]["delta"].get("text") for event in answer["stream"] if "contentBlockDelta" in event)


def body(**more):
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}], **more})


def chat(at):
    same(text(client(at).converse(modelId=MODEL, messages=ASK)), TEXT)
    same(json.loads(client(at).invoke_model(modelId=MODEL, body=body())["body"].read())["content"][0]["text"], TEXT)


def stream(at):
    same(gather(pieces(client(at).converse_stream(modelId=MODEL, messages=ASK)), at.first), TEXT)
    events = client(at).invoke_model_with_response_stream(modelId=MODEL, body=body())["body"]
    same(json.loads(list(events)[-1]["chunk"]["bytes"])["type"], "message_stop")


def tools(at):
    asked = [{"role": "user", "content": [{"text": "How is the weather?"}]}]
    message = client(at).converse(modelId=MODEL, messages=asked, toolConfig=TOOLS)["output"]["message"]
    call = message["content"][0]["toolUse"]
    same((call["name"], call["input"]), ("weather", {"city": CITY}))
    result = {"role": "user", "content": [{"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "rain"}]}}]}
    same("".join(pieces(client(at).converse_stream(modelId=MODEL, messages=[*asked, message, result], toolConfig=TOOLS))), WEATHER)


def embeddings(at):
    answer = client(at).invoke_model(modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "lunch"}))
    same(len(json.loads(answer["body"].read())["embedding"]), 8)


def media(at):
    answer = client(at).invoke_model(modelId="amazon.titan-image-generator-v2:0", body=json.dumps({"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "ramen"}}))
    assert json.loads(answer["body"].read())["images"][0].startswith("iVBOR")


def errors(at):
    ask = lambda status: client(at).converse(modelId=MODEL, messages=[{"role": "user", "content": [{"text": failing(status)}]}])
    same(raises(ClientError, lambda: ask(429)).response["Error"]["Code"], "ThrottlingException")
    same(raises(ClientError, lambda: ask(500)).response["Error"]["Code"], "InternalServerException")


def token(at):
    same(text(client(at, key=at.token, headers={}).converse(modelId=MODEL, messages=ASK)), TEXT)
    same(text(client(at, key="unused").converse(modelId=MODEL, messages=ASK)), TEXT)
    same("".join(pieces(client(at, key="unused").converse_stream(modelId=MODEL, messages=ASK))), TEXT)


def feedback(at):
    at.judge(client(at).converse(modelId=MODEL, messages=ASK)["ResponseMetadata"]["HTTPHeaders"]["cf-aig-log-id"])


run("boto3 (PyPI), Bedrock", "boto3", ["aws-bedrock"], dict(chat=chat, stream=stream, tools=tools, files="Bedrock's runtime has none", embeddings=embeddings, media=media, errors=errors, token=token, feedback=feedback))
