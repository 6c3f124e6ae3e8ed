"""What modules of databases and services offer that only computes, and who may use the rest."""

import random
import sqlite3

import openai
import requests
import sqlalchemy as sa
import stripe
from openai.types.chat import ChatCompletion
from sqlalchemy.orm import Session

from durable import Workflow, activity, sleep, workflow
from durable import random as drawn

client = openai.OpenAI()
engine = sa.create_engine("sqlite://")
ORDERS = sa.table("orders", sa.column("id"))


@activity
def load(id: int) -> str:
    with Session(engine) as session:
        return str(session.scalar(find(id)))


@activity
def ask(text: str) -> ChatCompletion:
    return client.chat.completions.create(model="m", messages=[text])


def find(id: int) -> sa.Select:
    return sa.select(ORDERS).where(ORDERS.c.id == id)


def pick(dice: random.Random, row: sqlite3.Row, response: requests.Response) -> str:
    return f"{dice.random()} {row.keys()} {response.json()}"


@workflow
def flow(id: int, row: sqlite3.Row, response: requests.Response) -> Workflow[str]:
    query = str(find(id))
    event = stripe.Webhook.construct_event(query, "sig", "secret")
    try:
        yield ask.call(f"{event} {pick(drawn(), row, response)}")
    except (openai.RateLimitError, stripe.CardError):
        yield sleep(1)
    return (yield load.call(id))
