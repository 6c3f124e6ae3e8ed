"""``durable lint``: what is wrong with workflow code, from its text alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

import click

from durable.cli.errors import EXIT_FAILED, say
from durable.cli.text import counted
from durable.lint.files import STDIN, check_files, is_other, python_files
from durable.lint.rule import Finding
from durable.lint.rules import RULES, UNREADABLE
from durable.reprs import escape

Place = tuple[str, Finding]


def _codes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> set[str]:
    """The rules that are named, each by its code or by the beginning of several."""
    found = set[str]()
    for name in ",".join(values).replace(",", " ").upper().split():
        codes = {code for code in RULES if code.startswith(name)}
        if not codes:
            raise click.BadParameter(f"there is no rule {name}; `durable lint --rules` lists them")
        found |= codes
    return found


@click.command("lint")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github"]), default="text",
    show_default=True, help="How to print findings; github shows them in a pull request.",
)  # fmt: skip
@click.option(
    "--select", multiple=True, metavar="CODES", callback=_codes,
    help="Only these rules, like DUR101,DUR12.  [default: all]",
)  # fmt: skip
@click.option(
    "--ignore", multiple=True, metavar="CODES", callback=_codes, help="All but these rules."
)
@click.option("--rules", is_flag=True, help="List the rules.")
@click.option(
    "--explain", multiple=True, metavar="CODES", callback=_codes,
    help="Print what rules are about, each with an example.",
)  # fmt: skip
def lint_command(
    paths: tuple[str, ...],
    form: str,
    select: set[str],
    ignore: set[str],
    rules: bool,
    explain: set[str],
) -> int:
    """Find mistakes in workflow code: what differs in a replay, commands that are not yielded.

    Folders are searched for *.py; - is stdin. The code is read, never run or imported. Exit code
    1 if something was found. A comment `# noqa: DUR101` excuses its line.
    """
    if rules or explain:
        _show_rules(explain)
        return 0
    wrong = _what_is_wrong(paths)
    if wrong:
        raise click.UsageError(wrong, click.get_current_context())
    chosen = select | {UNREADABLE} if select else RULES.keys()
    codes = [code for code in RULES if code in chosen and code not in ignore]
    found = list(check_files(paths, codes))
    _PRINTERS[form](found)
    for path in paths:
        if next(python_files([path]), None) is None:
            say(f"warning: there is no *.py in {path}: nothing of it was checked")
    if found:
        say(counted(len(found), "finding"))
    return EXIT_FAILED if found else 0


def _what_is_wrong(paths: tuple[str, ...]) -> str:
    """Why paths cannot be checked, if they cannot."""
    for path in paths:
        if path == STDIN:
            if sys.stdin is None:
                return f"{STDIN}: stdin is closed"
        elif not os.path.exists(path):
            return f"there is no {path}"
        elif is_other(path):
            return f"{path} is no Python file: its name does not end in .py"
    return "" if paths else "there is no PATH to check"


def _show_rules(explain: set[str]) -> None:
    if explain:
        click.echo("\n".join(RULES[code].page for code in sorted(explain)), nl=False)
    else:
        for code, rule in RULES.items():
            click.echo(f"{code}  {rule.title.replace('``', '`')}")


def _print_text(found: Iterable[Place]) -> None:
    for path, each in found:
        click.echo(escape(f"{path}:{each.line}:{each.column} {each.code} {each.message}"))


def _print_json(found: Iterable[Place]) -> None:
    rows = [
        {
            "path": path,
            "line": each.line,
            "column": each.column,
            "code": each.code,
            "message": each.message,
        }
        for path, each in found
    ]
    click.echo(json.dumps(rows, indent=2))


def _print_github(found: Iterable[Place]) -> None:
    for path, each in found:
        file = _quoted(path).replace(":", "%3A").replace(",", "%2C")  # as in any property
        place = f"file={file},line={each.line},col={each.column},title={each.code}"
        click.echo(f"::error {place}::{_quoted(each.message)}")


def _quoted(text: str) -> str:
    """As GitHub reads it: it has signs for these, and none for other control characters."""
    return escape(text, keep="\r\n").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


_PRINTERS = {"text": _print_text, "json": _print_json, "github": _print_github}
