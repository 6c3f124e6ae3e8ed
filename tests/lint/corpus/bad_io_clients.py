from dataclasses import dataclass

import openai
import redis
import sqlalchemy as sa
import stripe
from sqlalchemy.orm import Session, sessionmaker

from durable import Workflow, sleep, workflow

client = openai.OpenAI()
engine = sa.create_engine("sqlite://")
Local = sessionmaker(engine)


@dataclass
class Shop:
    cache: redis.Redis


def load(session: Session, ids: list[int]) -> None:
    session.execute(sa.select(sa.column("id")).where(sa.column("id").in_(ids)))  # expect: DUR104 sqlalchemy.orm.Session().execute() is done again
    session.commit()  # expect: DUR104 sqlalchemy.orm.Session().commit()


def ask(asked: "Session | None", shop: Shop) -> None:
    asked.flush()  # expect: DUR104 sqlalchemy.orm.Session().flush()
    shop.cache.incr("orders")  # expect: DUR104 redis.Redis().incr()


@workflow
def flow(ids: list[int]) -> Workflow[None]:
    stripe.Charge.create(amount=3)  # expect: DUR104 stripe.Charge.create()
    client.chat.completions.create(model="m")  # expect: DUR104 openai.OpenAI().chat.completions.create()
    openai.OpenAI().models.list()  # expect: DUR104 openai.OpenAI()
    with engine.connect() as connection:  # expect: DUR104 sqlalchemy.create_engine().connect()
        connection.execute(sa.text("SELECT 1"))
    with Local() as session:  # expect: DUR104 sqlalchemy.orm.sessionmaker()()
        load(session, ids)
    with Session(engine) as other:  # expect: DUR104 sqlalchemy.orm.Session()
        other.commit()
    ask(other, Shop(redis.Redis()))  # expect: DUR104 redis.Redis()
    yield sleep(1)
