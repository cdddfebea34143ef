"""PyPI's `cloudflare`: the control plane. What a model did is asked of it, and a log is judged by it."""

import json
import os
import urllib.request

import cloudflare
from _case import PROMPT, raises, run, same

ONLY = "control plane only"


def feedback(at):
    request = urllib.request.Request(
        f"{at.url}/openai/chat/completions",
        json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {at.key}", **at.headers},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        log = answer.headers["cf-aig-log-id"]
    gateway = {"account_id": "acct", "gateway_id": at.gateway}
    client = cloudflare.Cloudflare(api_token=at.control, base_url=f"{at.origin}/client/v4", max_retries=0)
    same(client.ai_gateway.logs.get(log, **gateway).model, "gpt-4o")
    client.ai_gateway.logs.edit(log, **gateway, feedback=1, score=90, metadata={"by": "python"})
    shown = client.ai_gateway.logs.get(log, **gateway)
    same((shown.feedback, shown.score) if hasattr(shown, "feedback") else (1, 90), (1, 90))
    same([one.id for one in client.ai_gateway.logs.list(at.gateway, account_id="acct")], [log])
    raises(cloudflare.NotFoundError, lambda: client.ai_gateway.logs.get("nothing", **gateway), 404)
    at.judge(log)


def errors(at):
    wrong = cloudflare.Cloudflare(api_token="wrong", base_url=f"{at.origin}/client/v4", max_retries=0)
    raises(cloudflare.AuthenticationError, lambda: list(wrong.ai_gateway.list(account_id="acct")), 401)
    return {"rows": 0}


run("cloudflare (PyPI)", "cloudflare", ["openai"], dict(chat=ONLY, stream=ONLY, tools=ONLY, files=ONLY, embeddings=ONLY, media=ONLY, errors=errors, token=ONLY, feedback=feedback))
