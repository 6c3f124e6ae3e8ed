"""Fixtures of the command line's tests."""

from cli_fixtures import cli  # noqa: F401 — pytest finds fixtures by their names here
