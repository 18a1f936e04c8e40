"""Text that a reader sees: where it stands in a template, in a rendered page and in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from django.template.base import Lexer, TokenType

# Attributes that are shown or read aloud.
ATTRIBUTES = {
    "alt",
    "aria-description",
    "aria-label",
    "aria-roledescription",
    "label",
    "placeholder",
    "title",
}
_UNSEEN = {"code", "kbd", "pre", "samp", "script", "style", "svg", "template", "textarea"}
_VOID = {"br", "hr", "img", "input", "link", "meta", "source", "wbr"}
_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*[A-Za-z]")


class _Texts(HTMLParser):
    """What is to be read on a page, piece by piece; code and what is typed into forms is no text of ours."""

    def __init__(self, *, unseen: frozenset[str]) -> None:
        super().__init__()
        self.found: list[str] = []
        self._unseen_tags = unseen
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in self._unseen_tags and tag not in _VOID:
            self._unseen.append(tag)
        self.found += [value for name, value in attrs if name in ATTRIBUTES and value]
        if tag == "input" and given.get("type") in {"submit", "button", "reset"}:
            self.found.append(given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.found.append(data)


def texts(page: str, *, unseen: frozenset[str] = frozenset(_UNSEEN)) -> list[str]:
    reader = _Texts(unseen=unseen)
    reader.feed(page)
    reader.close()
    return [" ".join(text.split()) for text in reader.found if text.strip()]


def words(text: str) -> list[str]:
    """Its words in Latin letters; addresses, paths and names of variables are none."""
    plain = re.sub(r"https?://\S+|\S*[/_@]\S*|&\w+;", " ", text)
    return _WORD.findall(plain)


# --- Templates ------------------------------------------------------------------------------------


def unmarked_in_template(source: str) -> list[str]:
    """Texts that stand in a template as they are, outside of all that is translated."""
    return [text for text in texts(_without_tags(source)) if words(text)]


_TRANSLATED = {"blocktranslate", "blocktrans", "comment"}


def _without_tags(source: str) -> str:
    """The template's own HTML: what tags and variables put there is somebody else's text."""
    pieces, hidden = [], ""
    for token in Lexer(source).tokenize():
        name, *rest = token.contents.split() or [""]
        if token.token_type == TokenType.BLOCK and name == hidden:
            hidden = ""
        elif token.token_type == TokenType.BLOCK and not hidden:
            # The block “shape” is the class of the page.
            hidden = f"end{name}" if name in _TRANSLATED or (name, *rest) == ("block", "shape") else ""
        elif token.token_type == TokenType.TEXT and not hidden:
            pieces.append(token.contents)
    return "".join(pieces)


# --- Code -----------------------------------------------------------------------------------------

# Arguments that become a text on a page.
_SHOWN = {"description", "empty_label", "error_messages", "help_text", "help_texts", "label", "labels"}
_SHOWN |= {"verbose_name", "verbose_name_plural"}
# Calls whose first arguments are shown.
_REFUSALS = {"Conflict", "FieldNotFound", "NotFound", "ParseError", "PermissionDenied", "ValidationError"}
_MESSAGES = {"add_error", "add_message", "error", "info", "message_user", "success", "warning"}
_SPEAKERS = {"form", "messages", "self"}
_MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "pgettext"}


def unmarked_in_python(source: str, *, reference: bool = False) -> list[str]:
    """Texts that are shown to somebody and that nobody could translate; of a `reference` refusals only."""
    arguments = set() if reference else _SHOWN
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return sorted({text for call in calls for shown in _shown(call, arguments) for text in _bare(shown)})


def _shown(call: ast.Call, arguments: set[str]) -> list[ast.expr]:
    name = _name_of(call.func)
    named = [keyword.value for keyword in call.keywords if keyword.arg in arguments]
    if name in _REFUSALS:
        return [*named, *call.args[:2]]
    if name in _MESSAGES and isinstance(call.func, ast.Attribute) and _name_of(call.func.value) in _SPEAKERS:
        return [*named, *call.args]
    return named


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _bare(node: ast.expr) -> Iterator[str]:
    """Sentences and labels inside an expression that no translation call holds. Names of fields are none."""
    if isinstance(node, ast.Call) and _name_of(node.func) in _MARKS:
        return
    if isinstance(node, ast.Dict):
        inner: list[ast.AST] = list(node.values)
    else:
        inner = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
        yield node.value
    for each in inner:
        if isinstance(each, ast.expr):
            yield from _bare(each)
