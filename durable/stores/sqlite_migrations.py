"""The migrations of SQLite, as text: what was published is never changed.

Rules
-----
* A change of the models is another migration at the end; what stands here stays as it is,
  to the letter, for there are stores that it made.
* Whole tables are not rewritten: a column is added at the end of its table.
"""

from __future__ import annotations

from durable.stores.sql_text import Migration

__all__ = ["MIGRATIONS"]

FIRST = """
CREATE TABLE "{prefix}instances" ("number" INTEGER NOT NULL PRIMARY KEY, "uid" BLOB NOT NULL,
    "id" TEXT NOT NULL, "workflow" TEXT NOT NULL, "version" INTEGER, "needs" TEXT NOT NULL,
    "queue" TEXT NOT NULL, "run" INTEGER NOT NULL, "status" TEXT NOT NULL, "owner" TEXT NOT NULL,
    "epoch" INTEGER NOT NULL, "wake_at" INTEGER, "history_length" INTEGER NOT NULL,
    "crashes" INTEGER NOT NULL, "blocked_by" TEXT NOT NULL, "reason" TEXT NOT NULL,
    "token" BLOB NOT NULL, "created_at" INTEGER NOT NULL, "started_at" INTEGER,
    "finished_at" INTEGER);
CREATE UNIQUE INDEX "{prefix}instances_uid" ON "{prefix}instances" ("uid");
CREATE UNIQUE INDEX "{prefix}instances_id" ON "{prefix}instances" ("id");
CREATE INDEX "{prefix}instances_free" ON "{prefix}instances" ("owner", "queue", "needs", "wake_at")
    WHERE owner = '' AND wake_at IS NOT NULL;
CREATE INDEX "{prefix}instances_own_due" ON "{prefix}instances" ("owner", "wake_at")
    WHERE owner <> '' AND wake_at IS NOT NULL;
CREATE INDEX "{prefix}instances_owned" ON "{prefix}instances" ("owner") WHERE owner <> '';
CREATE INDEX "{prefix}instances_listed" ON "{prefix}instances" ("status", "created_at", "uid");
CREATE INDEX "{prefix}instances_finished" ON "{prefix}instances" ("finished_at")
    WHERE finished_at IS NOT NULL;
CREATE TABLE "{prefix}payloads" ("number" INTEGER NOT NULL PRIMARY KEY, "args" BLOB NOT NULL,
    "kwargs" BLOB, "vars" BLOB, "result" BLOB, "failure" BLOB, "memo" BLOB, "tags" TEXT NOT NULL,
    "unread" TEXT NOT NULL);
CREATE TABLE "{prefix}history" ("number" INTEGER NOT NULL, "run" INTEGER NOT NULL,
    "seq" INTEGER NOT NULL, "event" BLOB NOT NULL);
CREATE UNIQUE INDEX "{prefix}history_key" ON "{prefix}history" ("number", "run", "seq");
CREATE TABLE "{prefix}inbox" ("id" INTEGER NOT NULL PRIMARY KEY, "number" INTEGER NOT NULL,
    "message_id" TEXT NOT NULL, "arrived_at" INTEGER NOT NULL, "event" BLOB NOT NULL);
CREATE INDEX "{prefix}inbox_instance" ON "{prefix}inbox" ("number");
CREATE TABLE "{prefix}receipts" ("number" INTEGER NOT NULL, "message_id" TEXT NOT NULL,
    PRIMARY KEY ("number", "message_id")) WITHOUT ROWID;
CREATE TABLE "{prefix}tasks" ("id" INTEGER NOT NULL PRIMARY KEY, "number" INTEGER NOT NULL,
    "run" INTEGER NOT NULL, "command" INTEGER NOT NULL, "name" TEXT NOT NULL,
    "queue" TEXT NOT NULL, "args" BLOB NOT NULL, "kwargs" BLOB, "options" BLOB NOT NULL,
    "owner" TEXT NOT NULL, "epoch" INTEGER NOT NULL, "wake_at" INTEGER NOT NULL,
    "attempt" INTEGER NOT NULL, "crashes" INTEGER NOT NULL, "cancel_requested" INTEGER NOT NULL,
    "deadline" INTEGER, "last_error" BLOB, "scheduled_at" INTEGER NOT NULL);
CREATE UNIQUE INDEX "{prefix}tasks_key" ON "{prefix}tasks" ("number", "run", "command");
CREATE INDEX "{prefix}tasks_free" ON "{prefix}tasks" ("owner", "queue", "name", "wake_at")
    WHERE owner = '';
CREATE INDEX "{prefix}tasks_owned" ON "{prefix}tasks" ("owner") WHERE owner <> '';
CREATE TABLE "{prefix}tags" ("tag" TEXT NOT NULL, "created_at" INTEGER NOT NULL,
    "uid" BLOB NOT NULL, PRIMARY KEY ("tag", "created_at", "uid")) WITHOUT ROWID;
CREATE TABLE "{prefix}workers" ("id" TEXT NOT NULL PRIMARY KEY, "host" TEXT NOT NULL,
    "machine" TEXT NOT NULL, "pid" INTEGER NOT NULL, "build" TEXT NOT NULL, "queues" TEXT NOT NULL,
    "slots" INTEGER NOT NULL, "workflows" TEXT NOT NULL, "activities" TEXT NOT NULL,
    "started_at" INTEGER NOT NULL, "expires_at" INTEGER NOT NULL);
"""

SECOND = """
ALTER TABLE "{prefix}instances" ADD COLUMN "parent_uid" BLOB;
ALTER TABLE "{prefix}instances" ADD COLUMN "parent_id" TEXT;
ALTER TABLE "{prefix}instances" ADD COLUMN "parent_run" INTEGER;
ALTER TABLE "{prefix}instances" ADD COLUMN "parent_command" INTEGER;
ALTER TABLE "{prefix}instances" ADD COLUMN "parent_close" TEXT;
CREATE INDEX "{prefix}instances_children" ON "{prefix}instances" ("parent_uid", "created_at", "uid")
    WHERE parent_uid IS NOT NULL;
CREATE INDEX "{prefix}instances_open_children" ON "{prefix}instances" ("parent_uid", "parent_run")
    WHERE parent_uid IS NOT NULL AND finished_at IS NULL;
ALTER TABLE "{prefix}payloads" ADD COLUMN "header" BLOB;
ALTER TABLE "{prefix}inbox" ADD COLUMN "run" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "{prefix}tasks" ADD COLUMN "context" BLOB;
ALTER TABLE "{prefix}tasks" ADD COLUMN "details" BLOB;
ALTER TABLE "{prefix}tasks" ADD COLUMN "deferrals" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "{prefix}tasks" ADD COLUMN "awaits" INTEGER NOT NULL DEFAULT 0;
CREATE TABLE "{prefix}settings" ("name" TEXT NOT NULL PRIMARY KEY, "value" BLOB NOT NULL);
INSERT INTO "{prefix}settings" ("name", "value") VALUES ('secret', x'');
"""

MIGRATIONS = (
    Migration(1, "first schema", FIRST),
    Migration(2, "parents, runs, promises", SECOND),
)
