"""Text in, findings out.  The code is parsed and never run: nothing of it is imported."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Collection, Iterator

from durable.lint.program import Program
from durable.lint.room import with_room
from durable.lint.rule import Finding
from durable.lint.rules import RULES, UNREADABLE

TOO_DEEP = "is nested too deeply to be checked"
CODE = "[A-Z]+[0-9]+"
NOQA = re.compile(rf"#\s*noqa\b(?::\s*(?P<codes>{CODE}(?:[,\s]+{CODE})*))?", re.IGNORECASE)


def check_source(source: bytes, codes: Collection[str] = RULES.keys()) -> list[Finding]:
    """What rules find in a file, in the order of its lines, without what its comments excuse.

    A file that cannot be parsed has one finding: `UNREADABLE`, which no comment excuses.
    """
    found = with_room(lambda: _check(source, codes))
    if not found or found[0].code == UNREADABLE:
        return [each for each in found if each.code in codes]
    excused = dict(_excused(_decoded(source)))
    return [each for each in found if not _is_excused(each.code, excused.get(each.line))]


def _check(source: bytes, codes: Collection[str]) -> list[Finding]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code that is read, not of ours
            tree = ast.parse(source)
        return _check_tree(tree, _decoded(source).split("\n"), codes)
    except SyntaxError as error:
        column = max(1, error.offset or 1)
        return [Finding(error.lineno or 1, column, UNREADABLE, f"cannot be parsed: {error.msg}")]
    except ValueError as error:  # a null byte, before Python 3.12
        return [Finding(1, 1, UNREADABLE, f"cannot be parsed: {error}")]
    except (RecursionError, MemoryError):  # the parser, which has a stack of its own, says this
        return [Finding(1, 1, UNREADABLE, TOO_DEEP)]


def check_tree(tree: ast.Module, lines: list[str], codes: Collection[str]) -> list[Finding]:
    """What rules find in a parsed file, comments or not.

    lines: of its text, in which the column is counted, as characters.
    """
    return with_room(lambda: _check_tree(tree, lines, codes))


def _check_tree(tree: ast.Module, lines: list[str], codes: Collection[str]) -> list[Finding]:
    if not any("durable" in line for line in lines):
        return []  # nothing of this library is imported
    found: dict[tuple[int, int, str, str], str] = {}
    for body in Program(tree).bodies.values():
        is_named = body.workflow and not body.is_workflow
        part = f" (in the workflow {body.workflow})" if is_named else ""
        for code in codes:
            for node, message in RULES[code].find(body):
                line: int = node.lineno  # type: ignore[attr-defined]  # none of them is a module
                offset: int = node.col_offset  # type: ignore[attr-defined]
                # Python 3.11 may take the lines of an f-string for those of the file.
                text = lines[line - 1] if line <= len(lines) else ""
                before = text.encode()[:offset].decode(errors="ignore")
                key = (line, len(before) + 1, code, message)
                found[key] = min(part, found.get(key, part))  # "" if it is a workflow's own
    return sorted(Finding(*key[:3], key[3] + part) for key, part in found.items())


def _decoded(source: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    with io.TextIOWrapper(io.BytesIO(source), encoding) as stream:
        return stream.read()


def _excused(text: str) -> Iterator[tuple[int, frozenset[str]]]:
    """(line, codes) of each line with a ``# noqa`` comment: it counts for its whole statement,
    while that of flake8 counts for its own line; without codes for all of them."""
    first, comments = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(token.string)
        elif token.type == tokenize.NEWLINE:
            codes = frozenset(code for comment in comments for code in _codes(comment))
            if codes:
                yield from ((line, codes) for line in range(first or 1, token.end[0] + 1))
            first, comments = 0, []
        elif token.type == tokenize.NL and not first:
            comments = []  # a comment on a line of its own excuses nothing
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT) and not first:
            first = token.start[0]


def _codes(comment: str) -> list[str]:
    found = NOQA.search(comment)
    if found is None:
        return []
    return re.findall(CODE, found["codes"].upper()) if found["codes"] else [""]


def _is_excused(code: str, excused: frozenset[str] | None) -> bool:
    """A code in a comment stands for all that begin with it; "" for all."""
    return excused is not None and code.startswith(tuple(excused))
