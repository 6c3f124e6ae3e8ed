"""PostgreSQL and MariaDB, with the settings under which what was committed is on disk."""

from __future__ import annotations

import secrets
import signal
from typing import Any
from urllib.parse import unquote, urlsplit

from servers.base import Server, as_user, at_path
from servers.processes import Process, free_port, user_name

USER = "durable"
# MariaDB's database in the URL itself; tests have others, which `fresh` makes.
DATABASE = "durable"
# Seconds for a connection, and for an answer, of a server that is frozen.
CONNECT = 2
ANSWER = 20


class Postgres(Server):
    title = "PostgreSQL"
    variable = "DURABLE_TEST_POSTGRES"
    programs = ("initdb", "postgres")
    package = "postgresql"
    driver = "psycopg"
    driver_package = "psycopg[binary]"
    # "Fast": it does not wait until its clients leave.
    stop_signal = signal.SIGINT

    def make(self) -> str:
        password = secrets.token_hex(8)
        file = self.folder / "password"
        file.write_text(password)
        file.chmod(0o644)  # the folder is closed to others
        port = free_port()
        data = str(self.folder / "data")
        install = ["initdb", "-D", data, "-U", USER, "--pwfile", str(file), "-A", "scram-sha-256"]
        install += ["-E", "UTF8", "--locale", "C", "--no-sync"]
        Process(install, self.folder).run()
        # No socket: its path may be too long, and nobody asks for it.
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "16MB",
            "max_wal_size": "256MB",
            "fsync": "on",
            "synchronous_commit": "on",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.processes = [Process(["postgres", "-D", data, *options], self.folder, port)]
        # This database is always there; tests have others, which `fresh` makes.
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"

    def ping(self) -> None:
        self._execute("SELECT 1")

    def create(self, name: str) -> str:
        self._execute(f'CREATE DATABASE "{name}"')
        return at_path(self.url, name)

    def drop(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def reader(self, url: str) -> str:
        """The address of the same place for a user who may only read what is there now."""
        name, password = f"r{secrets.token_hex(6)}", secrets.token_hex(8)
        self._execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE pg_read_all_data")
        return as_user(url, name, password)

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url, connect_timeout=CONNECT, autocommit=True) as connection:
            connection.execute(statement.encode())


class MariaDB(Server):
    title = "MariaDB"
    variable = "DURABLE_TEST_MYSQL"
    programs = ("mariadb-install-db", "mariadbd")
    package = "mariadb-server"
    driver = "pymysql"
    driver_package = "pymysql"

    def make(self) -> str:
        password = secrets.token_hex(8)
        port = free_port()
        # Both for the installation and for the server: the log must be of one size.
        common = [
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            # Not /tmp: there a server that starts removes the temporary tables of all others.
            f"--tmpdir={self.folder}",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=24M",
        ]
        install = ["mariadb-install-db", *common, "--skip-test-db", "--skip-name-resolve"]
        install += ["--auth-root-authentication-method=socket"]
        install += [f"--auth-root-socket-user={user_name()}"]
        Process(install, self.folder).run()
        first = self.folder / "first.sql"
        # One statement a line: that is all that an init file can have.
        first.write_text(
            f"CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{password}';\n"
            f"GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;\n"
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
        )
        first.chmod(0o644)
        command = [
            "mariadbd",
            *common,
            "--bind-address=127.0.0.1",
            f"--port={port}",
            # Beside the data; a full path may be too long for a socket.
            "--socket=socket",
            f"--init-file={first}",
            "--innodb-flush-log-at-trx-commit=1",
            "--max-connections=200",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
        ]
        self.processes = [Process(command, self.folder, port)]
        return f"mysql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def ping(self) -> None:
        self._execute("SELECT 1")

    def create(self, name: str) -> str:
        self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return at_path(self.url, name)

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def reader(self, url: str) -> str:
        """The address of the same place for a user who may only read."""
        name, password = f"r{secrets.token_hex(6)}", secrets.token_hex(8)
        self._execute(f"CREATE USER {name}@'%' IDENTIFIED BY '{password}'")
        self._execute(f"GRANT SELECT ON *.* TO {name}@'%'")
        return as_user(url, name, password)

    def _execute(self, statement: str) -> None:
        import pymysql

        # By default PyMySQL prepares for TLS, which takes 30 ms for each connection.
        connection: Any = pymysql.connect(
            **mysql_arguments(self.url),
            connect_timeout=CONNECT,
            read_timeout=ANSWER,
            ssl_disabled=self.is_ours,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)


def mysql_arguments(url: str) -> dict[str, Any]:
    """What PyMySQL wants, of a URL; PyMySQL itself knows none."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": parts.path.lstrip("/") or None,
    }
