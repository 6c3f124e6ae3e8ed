"""The tables, as Peewee models that are made for one store.

The models belong to a `Schema` object, so two stores in one process can have different
databases and prefixes.

Rules
-----
* ``instances`` holds what changes at each step, ``payloads`` what does not: a step never
  rewrites the arguments.
* Inside the database an instance goes by its ``number``: keys of 8 bytes at most instead of
  16, in every index.  Numbers may be used again after a delete, uids never: nothing outside
  of a transaction holds a number.
* Moments are integers: microseconds since 1970.  Names and ids are compared byte by byte.
* Each index is there for one statement, and holds only rows that it can find (where the
  database has partial indexes): what is finished, or waits for nothing, costs no claim
  anything.  Ordinary steps change no indexed column at all.
* ``needs`` is the workflow, with its version when it has one, and behind it the builds that
  have refused it: see ``refusals``.
* The models say what the schema is now; stored schemas get there by `migrations` alone.  So
  a new column stands last in its table, and may be null or has a default.

``instances_free``       what is due or will be, by queue and need: claims
``instances_own_due``    the same of what somebody owns: claims of the owner
``instances_owned``      what a worker owns: takeover, reconciliation
``instances_listed``     listings and counts by status
``instances_finished``   purge
``instances_children``   listings of the children of a parent
``instances_open_children``   those of one run that have not ended: closing, a rerun
``tasks_free``, ``tasks_owned``   the same for tasks
``inbox_instance``, ``history_key``, ``tasks_key``   what belongs to an instance
"""

from __future__ import annotations

from typing import Any

from peewee import (
    SQL,
    BigAutoField,
    BigIntegerField,
    CompositeKey,
    Database,
    Field,
    IntegerField,
    Model,
    ModelIndex,
    Node,
)

from durable.stores.sql_text import Dialect

__all__ = ["DEFAULT_PREFIX", "TABLES", "Schema"]

DEFAULT_PREFIX = "durable_"

TABLES = (
    "instances",
    "payloads",
    "history",
    "inbox",
    "receipts",
    "tasks",
    "tags",
    "workers",
    "settings",
)
"""The tables in the order in which they are made, without ``migration``."""


class Key(Field):
    """A few bytes that are part of a key: uid, token."""

    field_type = "KEY"


class Name(Field):
    """A short text that is compared byte by byte: ids, names, owners."""

    field_type = "NAME"


class Words(Field):
    """A text of any length that is never searched: reasons, lists as JSON."""

    field_type = "WORDS"


class Payload(Field):
    """Bytes of any length."""

    field_type = "PAYLOAD"


def _zero() -> list[Node]:
    """What rows have that are older than their column."""
    return [SQL("DEFAULT 0")]


# Peewee's metaclass has no types.
_Table: Any = Model


class Schema:
    """The models of one store: ``schema.instances`` is the table of that name."""

    instances: Any
    payloads: Any
    history: Any
    inbox: Any
    receipts: Any
    tasks: Any
    tags: Any
    workers: Any
    settings: Any
    migration: Any

    def __init__(self, database: Database, prefix: str, dialect: Dialect) -> None:
        self.database = database
        self.prefix = prefix
        self.dialect = dialect
        self._make_instances()
        self._make_messages()
        self._make_tasks()
        self._make_workers()

    @property
    def names(self) -> dict[str, str]:
        """From the name of a table to what statements call it."""
        left, right = self.database.quote[0], self.database.quote[1]
        return {name: f"{left}{self.prefix}{name}{right}" for name in (*TABLES, "migration")}

    def statements(self) -> list[str]:
        """What would make the tables and indexes at once."""
        return [text for name in TABLES for text in _statements(getattr(self, name))]

    def migration_table(self) -> list[str]:
        """What makes the table of migrations."""
        return _statements(self.migration, safe=True)

    # -- how a model is made ------------------------------------------------------------

    def _table(self, table: str, key: object = None, **fields: Field) -> Any:
        """A model. key: the columns of its primary key, if that is not a number."""
        options: dict[str, object] = {
            "database": self.database,
            "table_name": f"{self.prefix}{table}",
            "legacy_table_names": False,
        }
        if key is not None:
            options["primary_key"] = key
            options["without_rowid"] = self.dialect.clustered and bool(key)
        meta = type("Meta", (), options)
        return type(_Table)(table.capitalize(), (_Table,), {"Meta": meta, **fields})

    def _index(
        self, model: Any, name: str, columns: str, where: str | None = None, *, unique: bool = False
    ) -> None:
        fields = [getattr(model, column) for column in columns.split()]
        index = ModelIndex(model, fields, unique=unique, name=f"{self.prefix}{name}")
        if where is not None and self.dialect.partial_indexes:
            index = index.where(SQL(where))
        model.add_index(index)

    # -- the tables ---------------------------------------------------------------------

    def _make_instances(self) -> None:
        instances = self.instances = self._table(
            "instances",
            number=BigAutoField(),
            uid=Key(unique=True),
            id=Name(unique=True),
            workflow=Name(),
            version=BigIntegerField(null=True),
            needs=Name(),
            queue=Name(),
            run=BigIntegerField(),
            status=Name(),
            owner=Name(),
            epoch=BigIntegerField(),
            wake_at=BigIntegerField(null=True),
            history_length=BigIntegerField(),
            crashes=IntegerField(),
            blocked_by=Name(),
            reason=Words(),
            token=Key(),
            created_at=BigIntegerField(),
            started_at=BigIntegerField(null=True),
            finished_at=BigIntegerField(null=True),
            parent_uid=Key(null=True),
            parent_id=Name(null=True),
            parent_run=BigIntegerField(null=True),
            parent_command=BigIntegerField(null=True),
            parent_close=Name(null=True),
        )
        free, owned = "owner = '' AND wake_at IS NOT NULL", "owner <> ''"
        self._index(instances, "instances_free", "owner queue needs wake_at", free)
        due = f"{owned} AND wake_at IS NOT NULL"
        self._index(instances, "instances_own_due", "owner wake_at", due)
        self._index(instances, "instances_owned", "owner", owned)
        self._index(instances, "instances_listed", "status created_at uid")
        ended = "finished_at IS NOT NULL"
        self._index(instances, "instances_finished", "finished_at", ended)
        child = "parent_uid IS NOT NULL"
        self._index(instances, "instances_children", "parent_uid created_at uid", child)
        still_open = f"{child} AND finished_at IS NULL"
        self._index(instances, "instances_open_children", "parent_uid parent_run", still_open)
        self._make_payloads()

    def _make_payloads(self) -> None:
        self.payloads = self._table(
            "payloads",
            number=BigIntegerField(primary_key=True),
            args=Payload(),
            kwargs=Payload(null=True),
            vars=Payload(null=True),
            result=Payload(null=True),
            failure=Payload(null=True),
            memo=Payload(null=True),
            tags=Words(),
            unread=Words(),
            header=Payload(null=True),
        )
        self.tags = self._table(
            "tags",
            CompositeKey("tag", "created_at", "uid"),
            tag=Name(),
            created_at=BigIntegerField(),
            uid=Key(),
        )

    def _make_messages(self) -> None:
        self.history = self._table(
            "history",
            False,
            number=BigIntegerField(),
            run=BigIntegerField(),
            seq=BigIntegerField(),
            event=Payload(),
        )
        self._index(self.history, "history_key", "number run seq", unique=True)
        self.inbox = self._table(
            "inbox",
            id=BigAutoField(),
            number=BigIntegerField(),
            message_id=Name(),
            arrived_at=BigIntegerField(),
            event=Payload(),
            run=BigIntegerField(constraints=_zero()),
        )
        self._index(self.inbox, "inbox_instance", "number")
        self.receipts = self._table(
            "receipts",
            CompositeKey("number", "message_id"),
            number=BigIntegerField(),
            message_id=Name(),
        )

    def _make_tasks(self) -> None:
        tasks = self.tasks = self._table(
            "tasks",
            id=BigAutoField(),
            number=BigIntegerField(),
            run=BigIntegerField(),
            command=BigIntegerField(),
            name=Name(),
            queue=Name(),
            args=Payload(),
            kwargs=Payload(null=True),
            options=Payload(),
            owner=Name(),
            epoch=BigIntegerField(),
            wake_at=BigIntegerField(),
            attempt=BigIntegerField(),
            crashes=IntegerField(),
            cancel_requested=IntegerField(),
            deadline=BigIntegerField(null=True),
            last_error=Payload(null=True),
            scheduled_at=BigIntegerField(),
            context=Payload(null=True),
            details=Payload(null=True),
            deferrals=BigIntegerField(constraints=_zero()),
            awaits=IntegerField(constraints=_zero()),
        )
        self._index(tasks, "tasks_key", "number run command", unique=True)
        self._index(tasks, "tasks_free", "owner queue name wake_at", "owner = ''")
        self._index(tasks, "tasks_owned", "owner", "owner <> ''")

    def _make_workers(self) -> None:
        self.workers = self._table(
            "workers",
            id=Name(primary_key=True),
            host=Name(),
            machine=Name(),
            pid=BigIntegerField(),
            build=Name(),
            queues=Words(),
            slots=IntegerField(),
            workflows=Words(),
            activities=Words(),
            started_at=BigIntegerField(),
            expires_at=BigIntegerField(),
        )
        self.settings = self._table("settings", name=Name(primary_key=True), value=Payload())
        self.migration = self._table(
            "migration",
            version=IntegerField(primary_key=True),
            name=Name(),
            applied_at=BigIntegerField(),
        )


def _statements(model: Any, *, safe: bool = False) -> list[str]:
    manager = model._schema
    contexts = [manager._create_table(safe=safe), *manager._create_indexes(safe=False)]
    return [context.query()[0] for context in contexts]
