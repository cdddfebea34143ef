"""What the programs of PyPI's clients share: each feature is a function, or a text that says why the client does not have it."""

import importlib.metadata
import json
import os
import re
import sys
import traceback
import urllib.error
import urllib.request
from types import SimpleNamespace

TEXT = "A bowl of ramen, 味玉 🥚."
WEATHER = "It is raining in Kyōto: ramen."
CITY = "Kyōto"
PROMPT = "What should I eat for lunch?"
NO_HEADERS = "it does not show an answer's headers"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

# The clients find the stand-in by the environment's proxies, and this module does not want them.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def failing(status):
    """A prompt that the stand-in answers with an error."""
    return f"Please answer with status {status}."


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def raises(kind, call, status=None):
    try:
        call()
    except kind as error:
        if status is not None:
            found = getattr(error, "status_code", None) or getattr(error, "code", None)
            same(found, status)
        return error
    raise AssertionError(f"no {kind.__name__}")


def _post(url, body, headers=None):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})})
    try:
        with _open(request, timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from None


def _control(what, body):
    return _post(f"{os.environ['STANDIN']}/control/{what}", body)


def gather(pieces, first):
    """Reads a stream of pieces, and says when the first is there."""
    text, seen = "", False
    for piece in pieces:
        if piece and not seen:
            seen = True
            first()
        text += piece or ""
    return text


def run(client, of, providers, features):
    """Runs the features of a client; `providers` are those whose keys are stored where the client has only a token."""
    features = {"socket": "it opens none", **features}
    reasons = {name: how for name, how in features.items() if isinstance(how, str)}
    program = "/".join(sys.argv[0].split("/")[-2:])
    _control("about", dict(client=client, version=f"{of} {importlib.metadata.version(of)}", program=program, reasons=reasons))
    for feature, how in features.items():
        if isinstance(how, str):
            continue
        at = SimpleNamespace(**_control("begin", dict(client=client, feature=feature, providers=providers, settings=getattr(how, "settings", None) or {})))
        at.number = getattr(at, "case")
        at.headers = {"cf-aig-authorization": f"Bearer {at.token}"}
        at.first = lambda at=at: _control("first", {"case": at.number})
        judged = []

        def judge(log, at=at, judged=judged):
            assert re.fullmatch(r"[0-9A-Z]{26}", log or ""), f"the log's id: {log!r}"
            _post(f"{at.origin}/feedback/{log}", {"data": {"rating": 5}}, {"authorization": f"Bearer {at.token}"})
            judged.append(log)

        at.judge = judge
        said = {"client": client, "feature": feature, "case": at.number}
        try:
            more = how(at) or {}
            _control("end", {**said, **more, **({"judged": judged[0]} if judged else {})})
        except Exception:
            _control("end", {**said, "error": traceback.format_exc(limit=-3)})
