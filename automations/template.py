"""Payload templates: `${name}` in the string leaves of an already parsed JSON payload. Pure.

Values are data: they are put in once, JSON-escaped, and never looked at again, so a run named `${alias}`
stays so.

Secrets are put in later, when the request is sent. Until then the text carries a mark, `\\/secret:NAME\\/`,
which data cannot forge: `\\/` is a legal JSON spelling of `/` that the encoder never writes (a backslash in
data becomes two), so read escape by escape it stands only where this module put it. The text in between is
valid JSON and safe to store.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None

MAX_DEPTH = 64
MAX_CHARACTERS = 1_000_000
MAX_PROBLEMS = 20
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,249}")

# Linear: a name ends before the next `$`, so no character is read by two attempts.
_TOKEN = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<name>[^{}$]+)\}|(?P<broken>\$\{)")
_ESCAPE_OR_MARK = re.compile(r"\\(?:/secret:([A-Za-z0-9_]+)\\/|.)", re.DOTALL)
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 80


class TemplateError(ValueError):
    """A payload or a value that cannot be rendered; the message is meant for the person who wrote it."""


def check(payload: JsonValue, allowed: Collection[str]) -> list[str]:
    """What is wrong with the variables of a template, each with its JSON path; at most MAX_PROBLEMS.

    An entry of `allowed` that ends in `*` allows every longer name with that beginning
    (`artifact_metadata.*`).
    """
    try:
        return list(islice(_problems(payload, allowed), MAX_PROBLEMS))
    except TemplateError as error:
        return [str(error)]


def unknown(payload: JsonValue, allowed: Collection[str]) -> list[str]:
    """The variables of a template that are not among `allowed`, each once."""
    leaves = _string_leaves(payload, path="$", depth=0)
    names = [token["name"] for _path, text in leaves for token in _TOKEN.finditer(text) if token["name"]]
    return [name for name in dict.fromkeys(names) if not _is_allowed(name, allowed)]


def render(
    payload: JsonValue, values: Mapping[str, JsonValue], *, secrets: frozenset[str] = frozenset()
) -> str:
    """The payload as JSON text, ready to be encoded as UTF-8; the same input always gives the same text.

    A leaf that is exactly one variable takes the JSON type of its value; what has no value becomes "".
    Names in `secrets` become marks for `fill_secrets`. Raises TemplateError for what is nested too deeply
    or grows too large.
    """
    if odd := [name for name in secrets if not SECRET_NAME.fullmatch(name)]:
        raise ValueError(f"not a name for a secret: {odd[0]!r}; use letters, digits and underscores")
    return _joined(_written(payload, _Values(values, secrets), depth=0))


def render_text(template: str, values: Mapping[str, JsonValue]) -> str:
    """The same substitution in plain text, such as the subject of a message; there are no secrets in it."""
    return _joined(_text_pieces(template, _Values(values, frozenset())))


def fill_secrets(body: str, values: Mapping[str, str]) -> str:
    """Put secrets, JSON-escaped, where the template of a text from `render` named them, and nowhere else."""

    def replacement(found: re.Match[str]) -> str:
        name: str | None = found[1]
        if name is None:
            return found[0]
        if name not in values:
            raise TemplateError(f"the secret {name} is not there any more; choose another or take it out")
        return _escaped(values[name])

    return _ESCAPE_OR_MARK.sub(replacement, body)


class _Values:
    """Where names find their values."""

    def __init__(self, values: Mapping[str, JsonValue], secrets: frozenset[str]) -> None:
        self._values = values
        self.secrets = secrets

    def __getitem__(self, name: str) -> JsonValue:
        """The value, or "" for none. `a.b.c` looks into objects; a key that has dots itself goes first."""
        found = _looked_up(self._values, name)
        return "" if found is None else found


def _looked_up(values: Mapping[str, JsonValue], name: str) -> JsonValue:
    for _ in range(MAX_DEPTH):
        if name in values:
            return values[name]
        head, _dot, name = name.partition(".")
        inner = values.get(head)
        if not isinstance(inner, Mapping):
            return None
        values = inner
    return None


def _written(node: JsonValue, values: _Values, *, depth: int) -> Iterator[str]:
    _refuse_depth(depth)
    if isinstance(node, str):
        yield from _leaf(node, values)
    elif isinstance(node, Mapping):
        yield "{"
        for index, (key, item) in enumerate(node.items()):
            yield f'{"," if index else ""}"{_escaped(key)}":'
            yield from _written(item, values, depth=depth + 1)
        yield "}"
    elif isinstance(node, Sequence):
        yield "["
        for index, item in enumerate(node):
            yield "," if index else ""
            yield from _written(item, values, depth=depth + 1)
        yield "]"
    else:
        yield _json(node)


def _leaf(text: str, values: _Values) -> Iterator[str]:
    token = _TOKEN.fullmatch(text)
    if token and token["name"] and token["name"] not in values.secrets:
        yield _json(values[token["name"]])
        return
    yield '"'
    for piece in _pieces(text):
        if isinstance(piece, str):
            yield _escaped(piece)
        elif piece["name"] in values.secrets:
            yield f"\\/secret:{piece['name']}\\/"
        else:
            yield _escaped(_text(values[piece["name"]]))
    yield '"'


def _text_pieces(text: str, values: _Values) -> Iterator[str]:
    for piece in _pieces(text):
        yield piece if isinstance(piece, str) else _text(values[piece["name"]])


def _pieces(text: str) -> Iterator[str | re.Match[str]]:
    """Literal text as it is meant, and the matches of variables, in order."""
    end = 0
    for token in _TOKEN.finditer(text):
        yield text[end : token.start()]
        yield token if token["name"] else "${"
        end = token.end()
    yield text[end:]


def _joined(pieces: Iterator[str]) -> str:
    """Join, but stop early: a long value named often enough would fill the memory."""
    kept: list[str] = []
    room = MAX_CHARACTERS
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise TemplateError(
                f"rendered, it is over {MAX_CHARACTERS:,} characters; use fewer or shorter values"
            )
        kept.append(piece)
    return "".join(kept)


def _text(value: JsonValue) -> str:
    """A value inside a longer string."""
    value = _finite(value, depth=0)
    if isinstance(value, str):
        return value
    return "" if value is None else _json(value)


def _json(value: JsonValue) -> str:
    text = json.dumps(_finite(value, depth=0), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _LONE_SURROGATE.sub("\ufffd", text)


def _escaped(text: str) -> str:
    return _json(text)[1:-1]


def _finite(value: JsonValue, *, depth: int) -> JsonValue:
    """The value with the numbers that JSON cannot write as strings."""
    _refuse_depth(depth)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item, depth=depth + 1) for item in value]
    return value


def _refuse_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TemplateError(f"nested more than {MAX_DEPTH} levels deep; make the payload or value flatter")


def _problems(payload: JsonValue, allowed: Collection[str]) -> Iterator[str]:
    for path, text in _string_leaves(payload, path="$", depth=0):
        for token in _TOKEN.finditer(text):
            if token["broken"]:
                yield f"{path}: ${{ without a name and a }}; write $${{ for the two characters"
            elif token["name"] and not _is_allowed(token["name"], allowed):
                name = token["name"]
                yield f"{path}: unknown variable ${{{name[:_SHOWN]}}}{_suggestion(name, allowed)}"


def _string_leaves(node: JsonValue, *, path: str, depth: int) -> Iterator[tuple[str, str]]:
    _refuse_depth(depth)
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, Mapping):
        for key, item in node.items():
            yield from _string_leaves(item, path=path + _path_step(key), depth=depth + 1)
    elif isinstance(node, Sequence):
        for index, item in enumerate(node):
            yield from _string_leaves(item, path=f"{path}[{index}]", depth=depth + 1)


def _path_step(key: str) -> str:
    return f".{key[:_SHOWN]}" if _PLAIN_KEY.fullmatch(key) else f"[{_json(key[:_SHOWN])}]"


def _is_allowed(name: str, allowed: Collection[str]) -> bool:
    prefixes = (known[:-1] for known in allowed if known.endswith("*"))
    return name in allowed or any(name.startswith(prefix) and name != prefix for prefix in prefixes)


def _suggestion(name: str, allowed: Collection[str]) -> str:
    known = sorted(entry.removesuffix("*") + "KEY" if entry.endswith("*") else entry for entry in allowed)
    nearest = difflib.get_close_matches(name[:_SHOWN], known, n=1, cutoff=0.0)
    return f"; did you mean ${{{nearest[0]}}}?" if nearest else "; no variables are known here"
