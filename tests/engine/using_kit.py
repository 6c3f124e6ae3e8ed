"""Applications with transactions of their own: one class a framework, on each database.

app = Peewee(url)           # the database of this store
with app.transaction() as connection:
    app.write("o-1")        # a row of the application's own
    client.using(connection).start(…)
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import django
import peewee
import psycopg
import pymysql
import sqlalchemy
from django.conf import empty, settings
from django.db import connections, transaction
from pymysql.cursors import DictCursor
from servers.sql_servers import mysql_arguments
from sqlalchemy.orm import Session

__all__ = ["APPLICATIONS", "Application", "Driver", "connect"]

OWN = "CREATE TABLE IF NOT EXISTS own_rows (id VARCHAR(40))"
EMPTY = "DELETE FROM own_rows"
READ = "SELECT id FROM own_rows"


def connect(url: str, **options: Any) -> Any:
    """A new connection of the driver."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return sqlite3.connect(_file(url), **options)
    if parts.scheme == "postgresql":
        return psycopg.connect(url.partition("?")[0], **options)
    return pymysql.connect(**mysql_arguments(url), **options)


def _file(url: str) -> str:
    return url.removeprefix("sqlite:///").partition("?")[0]


class Application(ABC):
    """Something that has a table of its own beside the tables of a store. url: the store's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.kind = urlsplit(url).scheme
        self.outside = connect(url)
        for text in (OWN, EMPTY):
            self.outside.cursor().execute(text)
            self.outside.commit()

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Any]:
        """A transaction of its own; gives what `using` takes."""

    @abstractmethod
    def write(self, id: str) -> None:
        """Add a row to its own table, in the transaction."""

    def rows(self) -> list[str]:
        """The rows of its own table, as another connection sees them."""
        cursor = self.outside.cursor()
        cursor.execute(READ)
        rows = [id for [id] in cursor.fetchall()]
        self.outside.commit()
        return rows

    def close(self) -> None:
        self.outside.close()


class Driver(Application):
    """A connection of the driver."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url)
        self.connection = connect(url, **options)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        try:
            yield self.connection
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    def write(self, id: str) -> None:
        self.connection.cursor().execute(f"INSERT INTO own_rows (id) VALUES ('{id}')")

    def close(self) -> None:
        with suppress(Exception):  # a test may have broken it
            self.connection.close()
        super().close()


ODD: Mapping[str, dict[str, Any]] = {
    "sqlite": {"detect_types": sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES},
    "postgresql": {"row_factory": psycopg.rows.dict_row, "cursor_factory": psycopg.ClientCursor},
    "mysql": {"cursorclass": DictCursor, "charset": "latin1", "use_unicode": False},
}


class Odd(psycopg.adapt.Loader):
    """Makes nothing of a value."""

    def load(self, data: Any) -> None:
        return None


class OddDriver(Driver):
    """A connection of the driver whose rows and texts are not what they usually are."""

    def __init__(self, url: str) -> None:
        super().__init__(url, **ODD[urlsplit(url).scheme])
        if self.kind == "sqlite":
            self.connection.row_factory = lambda cursor, row: {}
            self.connection.text_factory = lambda data: len(data)
        elif self.kind == "postgresql":
            for name in ("bytea", "int4", "int8", "text"):
                self.connection.adapters.register_loader(name, Odd)


class Peewee(Application):
    """A Peewee database, and ``db.atomic()``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.database = peewee_database(url)
        self.database.connect()

    @contextmanager
    def transaction(self) -> Iterator[peewee.Database]:
        with self.database.atomic():
            yield self.database

    def write(self, id: str) -> None:
        run: Any = self.database.execute_sql  # which has no types
        run(f"INSERT INTO own_rows (id) VALUES ('{id}')")

    def close(self) -> None:
        self.database.close()
        super().close()


def peewee_database(url: str, **options: Any) -> peewee.Database:
    """The Peewee database in which a store is."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return peewee.SqliteDatabase(_file(url), **options)
    if parts.scheme == "postgresql":
        return peewee.PostgresqlDatabase(
            parts.path[1:],
            prefer_psycopg3=True,
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=unquote(parts.password or ""),
            **options,
        )
    return peewee.MySQLDatabase(**mysql_arguments(url), **options)


class Django(Application):
    """``django.db.connection``, and ``transaction.atomic()``."""

    ENGINES: Mapping[str, str] = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql"}

    def __init__(self, url: str) -> None:
        super().__init__(url)
        pymysql.install_as_MySQLdb()
        self._configures = not settings.configured
        if self._configures:
            settings.configure(DATABASES={})
            django.setup()
        parts = urlsplit(url)
        place = (
            {"NAME": _file(url)}
            if self.kind == "sqlite"
            else {
                "NAME": parts.path[1:],
                "HOST": parts.hostname,
                "PORT": parts.port,
                "USER": parts.username,
                "PASSWORD": unquote(parts.password or ""),
            }
        )
        engine = f"django.db.backends.{self.ENGINES[self.kind]}"
        connections.settings["tests"] = connections.configure_settings(
            {"default": {"ENGINE": engine, **place}}
        )["default"]

    def transaction(self) -> AbstractContextManager[Any]:
        return self._atomic()

    @contextmanager
    def _atomic(self) -> Iterator[Any]:
        with transaction.atomic(using="tests"):
            yield connections["tests"]

    def write(self, id: str) -> None:
        with connections["tests"].cursor() as cursor:
            cursor.execute("INSERT INTO own_rows (id) VALUES (%s)", [id])

    def close(self) -> None:
        connections["tests"].close()
        del connections["tests"]
        if self._configures:  # others may want to
            settings._wrapped = empty
            del connections.settings
            connections._settings = None  # what it was made of
        super().close()


class Alchemy(Application):
    """A connection of SQLAlchemy."""

    DRIVERS: Mapping[str, str] = {
        "sqlite": "sqlite",
        "postgresql": "postgresql+psycopg",
        "mysql": "mysql+pymysql",
    }

    def __init__(self, url: str) -> None:
        super().__init__(url)
        rest = url.partition("?")[0].partition("://")[2]
        self.engine = sqlalchemy.create_engine(f"{self.DRIVERS[self.kind]}://{rest}")

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self.writer: Any
        with self.engine.connect() as self.writer:
            yield self.writer
            self.writer.commit()

    def write(self, id: str) -> None:
        self.writer.execute(sqlalchemy.text("INSERT INTO own_rows (id) VALUES (:id)"), {"id": id})

    def close(self) -> None:
        self.engine.dispose()
        super().close()


class AlchemySession(Alchemy):
    """A session of SQLAlchemy's ORM."""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with Session(self.engine) as self.writer, self.writer.begin():
            yield self.writer


APPLICATIONS = (Driver, OddDriver, Peewee, Django, Alchemy, AlchemySession)
