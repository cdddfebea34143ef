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
    routes(client.ai_gateway.dynamic_routing, gateway)
    at.judge(log)


def elements(model):
    to = lambda element: {"elementId": element}
    return [
        {"id": "s", "type": "start", "outputs": {"next": to("c")}},
        {"id": "c", "type": "conditional", "properties": {"conditions": {"metadata.plan": {"$eq": "paid"}}}, "outputs": {"true": to("r"), "false": to("p")}},
        {"id": "r", "type": "rate", "properties": {"key": "", "limit": 5, "limitType": "count", "window": 60}, "outputs": {"success": to("m"), "fallback": to("n")}},
        {"id": "p", "type": "percentage", "properties": {}, "outputs": {"10%": to("m"), "else": to("n")}},
        {"id": "m", "type": "model", "properties": {"provider": "openai", "model": model, "retries": 0, "timeout": 0}, "outputs": {"success": to("e"), "fallback": to("n")}},
        {"id": "n", "type": "model", "properties": {"provider": "openai", "model": "gpt-4o-mini", "retries": 0, "timeout": 0}, "outputs": {"success": to("e")}},
        {"id": "e", "type": "end", "outputs": {}},
    ]


def routes(api, gateway):
    """Every method for dynamic routes, through a route's life."""
    route = api.create(gateway["gateway_id"], account_id="acct", name="life", elements=elements("gpt-4o"))
    same([one.id for one in api.list(gateway["gateway_id"], account_id="acct").data.routes], [route.id])
    versions = lambda: api.list_versions(route.id, **gateway).data.versions
    first = versions()[0].version_id
    api.create_version(route.id, **gateway, elements=elements("gpt-4o-mini"))
    (second,) = [one.version_id for one in versions() if one.version_id != first]
    assert api.get_version(second, id=route.id, **gateway)
    for version in [second, first]:
        api.create_deployment(route.id, **gateway, version_id=version)
        same(api.get(route.id, **gateway).deployment.version_id, version)
    assert len(api.list_deployments(route.id, **gateway).data.deployments) >= 2
    api.update(route.id, **gateway, name="renamed")
    same(api.get(route.id, **gateway).name, "renamed")
    api.delete(route.id, **gateway)
    raises(cloudflare.NotFoundError, lambda: api.get(route.id, **gateway), 404)


def errors(at):
    wrong = cloudflare.Cloudflare(api_token="wrong", base_url=f"{at.origin}/client/v4", max_retries=0)
    raises(cloudflare.AuthenticationError, lambda: list(wrong.ai_gateway.list(account_id="acct")), 401)
    return {"rows": 0}


run("cloudflare (PyPI)", "cloudflare", ["openai"], dict(chat=ONLY, stream=ONLY, tools=ONLY, files=ONLY, embeddings=ONLY, media=ONLY, errors=errors, token=ONLY, feedback=feedback))
