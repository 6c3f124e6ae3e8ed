"""The migrations of MySQL and MariaDB, as text: what was published is never changed.

Rules
-----
* The rules of `sqlite_migrations`.  The first schema here has what version 2 has there.
* DDL commits by itself, and a crash may come between two statements: so each of them may be
  run again.
* There are no partial indexes.  ``free`` stands for the condition of the one that has to pass
  over a million of finished instances (see `Dialect.free`).
* An index whose columns another begins with is left out.
"""

from __future__ import annotations

from durable.stores.sql_text import Migration

__all__ = ["MIGRATIONS", "SLOTS"]

SLOTS = 16
"""How many rows count the changes."""

FIRST = """
CREATE TABLE IF NOT EXISTS `{prefix}instances` (`number` BIGINT NOT NULL AUTO_INCREMENT PRIMARY
    KEY, `uid` VARBINARY(255) NOT NULL, `id` VARBINARY(255) NOT NULL, `workflow` VARBINARY(255)
    NOT NULL, `version` BIGINT, `needs` VARBINARY(2000) NOT NULL, `queue` VARBINARY(255) NOT
    NULL, `run` BIGINT NOT NULL, `status` VARBINARY(255) NOT NULL, `owner` VARBINARY(255) NOT
    NULL, `epoch` BIGINT NOT NULL, `wake_at` BIGINT, `history_length` BIGINT NOT NULL, `crashes`
    INTEGER NOT NULL, `blocked_by` VARBINARY(2000) NOT NULL, `reason` LONGBLOB NOT NULL, `token`
    VARBINARY(255) NOT NULL, `created_at` BIGINT NOT NULL, `started_at` BIGINT, `finished_at`
    BIGINT, `parent_uid` VARBINARY(255), `parent_id` VARBINARY(255), `parent_run` BIGINT,
    `parent_command` BIGINT, `parent_close` VARBINARY(255), `free` TINYINT GENERATED ALWAYS AS
    (CASE WHEN owner = '' AND wake_at IS NOT NULL THEN 1 END) STORED, UNIQUE KEY `instances_uid`
    (`uid`), UNIQUE KEY `instances_id` (`id`), KEY `instances_free` (`free`, `queue`, `needs`,
    `wake_at`), KEY `instances_own_due` (`owner`, `wake_at`), KEY `instances_listed` (`status`,
    `created_at`, `uid`), KEY `instances_finished` (`finished_at`), KEY `instances_children`
    (`parent_uid`, `created_at`, `uid`), KEY `instances_open_children` (`parent_uid`,
    `parent_run`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}payloads` (`number` BIGINT NOT NULL PRIMARY KEY, `args`
    LONGBLOB NOT NULL, `kwargs` LONGBLOB, `vars` LONGBLOB, `result` LONGBLOB, `failure`
    LONGBLOB, `memo` LONGBLOB, `tags` LONGBLOB NOT NULL, `unread` LONGBLOB NOT NULL, `header`
    LONGBLOB) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}history` (`number` BIGINT NOT NULL, `run` BIGINT NOT NULL,
    `seq` BIGINT NOT NULL, `event` LONGBLOB NOT NULL, PRIMARY KEY (`number`, `run`, `seq`))
    ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}inbox` (`id` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `number` BIGINT NOT NULL, `message_id` VARBINARY(1000) NOT NULL, `arrived_at` BIGINT NOT
    NULL, `event` LONGBLOB NOT NULL, `run` BIGINT NOT NULL DEFAULT 0, KEY `inbox_instance`
    (`number`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}receipts` (`number` BIGINT NOT NULL, `message_id`
    VARBINARY(1000) NOT NULL, PRIMARY KEY (`number`, `message_id`)) ENGINE=InnoDB
    ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}tasks` (`id` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `number` BIGINT NOT NULL, `run` BIGINT NOT NULL, `command` BIGINT NOT NULL, `name`
    VARBINARY(255) NOT NULL, `queue` VARBINARY(255) NOT NULL, `args` LONGBLOB NOT NULL, `kwargs`
    LONGBLOB, `options` LONGBLOB NOT NULL, `owner` VARBINARY(255) NOT NULL, `epoch` BIGINT NOT
    NULL, `wake_at` BIGINT NOT NULL, `attempt` BIGINT NOT NULL, `crashes` INTEGER NOT NULL,
    `cancel_requested` INTEGER NOT NULL, `deadline` BIGINT, `last_error` LONGBLOB,
    `scheduled_at` BIGINT NOT NULL, `context` LONGBLOB, `details` LONGBLOB, `deferrals` BIGINT
    NOT NULL DEFAULT 0, `awaits` INTEGER NOT NULL DEFAULT 0, UNIQUE KEY `tasks_key` (`number`,
    `run`, `command`), KEY `tasks_free` (`owner`, `queue`, `name`, `wake_at`)) ENGINE=InnoDB
    ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}tags` (`tag` VARBINARY(1000) NOT NULL, `created_at` BIGINT
    NOT NULL, `uid` VARBINARY(255) NOT NULL, PRIMARY KEY (`tag`, `created_at`, `uid`))
    ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}workers` (`id` VARBINARY(255) NOT NULL PRIMARY KEY, `host`
    VARBINARY(255) NOT NULL, `machine` VARBINARY(255) NOT NULL, `pid` BIGINT NOT NULL, `build`
    VARBINARY(1000) NOT NULL, `queues` LONGBLOB NOT NULL, `slots` INTEGER NOT NULL, `workflows`
    LONGBLOB NOT NULL, `activities` LONGBLOB NOT NULL, `started_at` BIGINT NOT NULL,
    `expires_at` BIGINT NOT NULL) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS `{prefix}settings` (`name` VARBINARY(255) NOT NULL PRIMARY KEY,
    `value` LONGBLOB NOT NULL) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
INSERT INTO `{prefix}settings` (`name`, `value`) VALUES ('secret', %s), ('lock', '') ON
    DUPLICATE KEY UPDATE `value` = `value`;
CREATE TABLE IF NOT EXISTS `{prefix}changes` (`slot` INTEGER NOT NULL PRIMARY KEY, `n` BIGINT
    NOT NULL) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
INSERT INTO `{prefix}changes` (`slot`, `n`) VALUES """

COUNTERS = ", ".join(f"({slot}, 0)" for slot in range(SLOTS))

MIGRATIONS = (
    Migration(2, "first schema", f"{FIRST} {COUNTERS} ON DUPLICATE KEY UPDATE `n` = `n`;"),
)
