"""A flask application that starts and signals workflows, in one file with them."""

import os
import secrets
import threading
import time
from datetime import datetime, timezone
from typing import NamedTuple, TypedDict

import requests
from flask import Flask, jsonify, request

from durable import Client, Worker, Workflow, activity, info, now, race, sleep, wait_signal, workflow

app = Flask(__name__)
client = Client(os.environ.get("DURABLE_STORE", "sqlite:///durable.db"))
_lock = threading.Lock()
_cache: dict[str, str] = {}


class Decision(NamedTuple):
    by: str
    yes: bool


class Document(TypedDict):
    id: str
    title: str


@activity(timeout=10)
def post(url: str, payload: dict) -> int:
    with _lock:
        _cache[url] = datetime.now(timezone.utc).isoformat()
    return requests.post(url, json=payload, timeout=5).status_code


@activity
def token(document: Document) -> str:
    return secrets.token_urlsafe()


@workflow
def approve(document: Document, reviewers: list[str]) -> Workflow[str]:
    key = yield token.call(document)
    for reviewer in reviewers:
        yield post.call("https://mail.example", {"to": reviewer, "key": key})
    asked_at = now()
    votes: dict[str, bool] = {}
    while len(votes) < len(reviewers):
        winner = yield race(vote=wait_signal("vote", Decision), late=sleep(3 * 86400))
        if winner.name == "late":
            break
        by, yes = winner.value
        votes[by] = yes
    waited = (now() - asked_at).total_seconds()
    yield post.call("https://hooks.example", {"id": info().instance_id, "waited": waited})
    return "approved" if all(votes.values()) else "refused"


@app.post("/documents")
def start():
    handle = client.start(approve, request.json, ["ann", "bob"])
    return jsonify(id=handle.id, at=time.time())


@app.post("/documents/<id>/votes")
def vote(id: str):
    client.signal(id, "vote", Decision(request.json["by"], request.json["yes"]))
    return "", 204


if __name__ == "__main__":
    threading.Thread(target=app.run, daemon=True).start()
    Worker(client.store, workflows=[approve], activities=[post, token]).run()
