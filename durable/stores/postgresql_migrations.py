"""The migrations of PostgreSQL, as text: what was published is never changed.

Rules
-----
* The rules of `sqlite_migrations`.  The first schema here has what version 2 has there.
* An ordinary step changes no indexed column, and costs no index anything if its row has room in
  its page: so the pages of ``instances`` are half empty when they are filled (PostgreSQL
  manual, Heap-Only Tuples).
"""

from __future__ import annotations

from durable.stores.sql_text import Migration

__all__ = ["MIGRATIONS"]

FIRST = """
CREATE TABLE {schema}"{prefix}instances" ("number" BIGSERIAL NOT NULL PRIMARY KEY, "uid" BYTEA
    NOT NULL, "id" TEXT COLLATE "C" NOT NULL, "workflow" TEXT COLLATE "C" NOT NULL, "version"
    BIGINT, "needs" TEXT COLLATE "C" NOT NULL, "queue" TEXT COLLATE "C" NOT NULL, "run" BIGINT
    NOT NULL, "status" TEXT COLLATE "C" NOT NULL, "owner" TEXT COLLATE "C" NOT NULL, "epoch"
    BIGINT NOT NULL, "wake_at" BIGINT, "history_length" BIGINT NOT NULL, "crashes" INTEGER NOT
    NULL, "blocked_by" TEXT COLLATE "C" NOT NULL, "reason" TEXT NOT NULL, "token" BYTEA NOT
    NULL, "created_at" BIGINT NOT NULL, "started_at" BIGINT, "finished_at" BIGINT, "parent_uid"
    BYTEA, "parent_id" TEXT COLLATE "C", "parent_run" BIGINT, "parent_command" BIGINT,
    "parent_close" TEXT COLLATE "C") WITH (fillfactor = 50);
CREATE UNIQUE INDEX "{prefix}instances_uid" ON {schema}"{prefix}instances" ("uid");
CREATE UNIQUE INDEX "{prefix}instances_id" ON {schema}"{prefix}instances" ("id");
CREATE INDEX "{prefix}instances_free" ON {schema}"{prefix}instances" ("queue", "needs",
    "wake_at") WHERE owner = '' AND wake_at IS NOT NULL;
CREATE INDEX "{prefix}instances_own_due" ON {schema}"{prefix}instances" ("owner", "wake_at")
    WHERE owner <> '' AND wake_at IS NOT NULL;
CREATE INDEX "{prefix}instances_owned" ON {schema}"{prefix}instances" ("owner") WHERE owner <>
    '';
CREATE INDEX "{prefix}instances_listed" ON {schema}"{prefix}instances" ("status", "created_at",
    "uid");
CREATE INDEX "{prefix}instances_finished" ON {schema}"{prefix}instances" ("finished_at") WHERE
    finished_at IS NOT NULL;
CREATE INDEX "{prefix}instances_children" ON {schema}"{prefix}instances" ("parent_uid",
    "created_at", "uid") WHERE parent_uid IS NOT NULL;
CREATE INDEX "{prefix}instances_open_children" ON {schema}"{prefix}instances" ("parent_uid",
    "parent_run") WHERE parent_uid IS NOT NULL AND finished_at IS NULL;
CREATE TABLE {schema}"{prefix}payloads" ("number" BIGINT NOT NULL PRIMARY KEY, "args" BYTEA NOT
    NULL, "kwargs" BYTEA, "vars" BYTEA, "result" BYTEA, "failure" BYTEA, "memo" BYTEA, "tags"
    TEXT NOT NULL, "unread" TEXT NOT NULL, "header" BYTEA);
CREATE TABLE {schema}"{prefix}history" ("number" BIGINT NOT NULL, "run" BIGINT NOT NULL, "seq"
    BIGINT NOT NULL, "event" BYTEA NOT NULL);
CREATE UNIQUE INDEX "{prefix}history_key" ON {schema}"{prefix}history" ("number", "run", "seq");
CREATE TABLE {schema}"{prefix}inbox" ("id" BIGSERIAL NOT NULL PRIMARY KEY, "number" BIGINT NOT
    NULL, "message_id" TEXT COLLATE "C" NOT NULL, "arrived_at" BIGINT NOT NULL, "event" BYTEA
    NOT NULL, "run" BIGINT NOT NULL DEFAULT 0);
CREATE INDEX "{prefix}inbox_instance" ON {schema}"{prefix}inbox" ("number");
CREATE TABLE {schema}"{prefix}receipts" ("number" BIGINT NOT NULL, "message_id" TEXT COLLATE "C"
    NOT NULL, PRIMARY KEY ("number", "message_id"));
CREATE TABLE {schema}"{prefix}tasks" ("id" BIGSERIAL NOT NULL PRIMARY KEY, "number" BIGINT NOT
    NULL, "run" BIGINT NOT NULL, "command" BIGINT NOT NULL, "name" TEXT COLLATE "C" NOT NULL,
    "queue" TEXT COLLATE "C" NOT NULL, "args" BYTEA NOT NULL, "kwargs" BYTEA, "options" BYTEA
    NOT NULL, "owner" TEXT COLLATE "C" NOT NULL, "epoch" BIGINT NOT NULL, "wake_at" BIGINT NOT
    NULL, "attempt" BIGINT NOT NULL, "crashes" INTEGER NOT NULL, "cancel_requested" INTEGER NOT
    NULL, "deadline" BIGINT, "last_error" BYTEA, "scheduled_at" BIGINT NOT NULL, "context"
    BYTEA, "details" BYTEA, "deferrals" BIGINT NOT NULL DEFAULT 0, "awaits" INTEGER NOT NULL
    DEFAULT 0);
CREATE UNIQUE INDEX "{prefix}tasks_key" ON {schema}"{prefix}tasks" ("number", "run", "command");
CREATE INDEX "{prefix}tasks_free" ON {schema}"{prefix}tasks" ("queue", "name", "wake_at") WHERE
    owner = '';
CREATE INDEX "{prefix}tasks_owned" ON {schema}"{prefix}tasks" ("owner") WHERE owner <> '';
CREATE TABLE {schema}"{prefix}tags" ("tag" TEXT COLLATE "C" NOT NULL, "created_at" BIGINT NOT
    NULL, "uid" BYTEA NOT NULL, PRIMARY KEY ("tag", "created_at", "uid"));
CREATE TABLE {schema}"{prefix}workers" ("id" TEXT COLLATE "C" NOT NULL PRIMARY KEY, "host" TEXT
    COLLATE "C" NOT NULL, "machine" TEXT COLLATE "C" NOT NULL, "pid" BIGINT NOT NULL, "build"
    TEXT COLLATE "C" NOT NULL, "queues" TEXT NOT NULL, "slots" INTEGER NOT NULL, "workflows"
    TEXT NOT NULL, "activities" TEXT NOT NULL, "started_at" BIGINT NOT NULL, "expires_at" BIGINT
    NOT NULL);
CREATE TABLE {schema}"{prefix}settings" ("name" TEXT COLLATE "C" NOT NULL PRIMARY KEY, "value"
    BYTEA NOT NULL);
INSERT INTO {schema}"{prefix}settings" ("name", "value") VALUES ('secret', '');
"""

MIGRATIONS = (Migration(2, "first schema", FIRST),)
