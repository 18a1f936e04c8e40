"""The Japanese catalog is complete, holds nothing else, and says what the English says."""

from __future__ import annotations

import re
from collections import Counter
from gettext import GNUTranslations
from io import BytesIO

import pytest
from babel.messages import Message
from django.utils import translation

from automations.events.base import EVENTS
from tests.languages import catalog
from tests.languages.catalog import Key

# Names, units and terms that Japanese writes in Latin letters too.
KEPT = {
    "%(action)s to “%(target)s”",
    "Discord",
    "Id",
    "GitHub: repository_dispatch",
    "Run",
    "Artifacts",
    "Runs",
    "SHA-256",
    "Slack",
    "URL",
    "Webhook",
    "run",
    "run id",
    "runs",
    "webhook id",
    "z-score",
}
_JAPANESE = re.compile(r"[぀-ヿ一-鿿]")
_VALUES = re.compile(r"%\(\w+\)(?:\.\d+)?[a-z]|%[a-z%]|\$?\{\w+\}|</?\w[^>]*>|https?://\S+")


def untranslated(needed: dict[Key, Message], stored: dict[Key, Message]) -> list[str]:
    """What a reader of Japanese would meet in English."""
    return sorted(text for (context, text, plural) in needed if not _said((context, text, plural), stored))


def _said(key: Key, stored: dict[Key, Message]) -> bool:
    found = stored.get(key)
    return found is not None and not found.fuzzy and all(catalog.texts(found))


def marked(source: str) -> dict[Key, Message]:
    return {catalog.key_of(message): message for message in catalog.marked_in_python(source)}


# --- Complete -------------------------------------------------------------------------------------


def test_every_text_is_translated() -> None:
    assert untranslated(catalog.needed(), catalog.stored()) == []


def test_nothing_is_translated_that_nobody_says() -> None:
    assert sorted(set(catalog.stored()) - set(catalog.needed())) == []
    assert catalog.obsolete() == []


def test_the_file_is_as_the_command_writes_it() -> None:
    assert catalog.PO.read_bytes() == catalog.renewed()


def test_the_compiled_file_says_what_the_other_says() -> None:
    committed = GNUTranslations(BytesIO(catalog.MO.read_bytes()))
    expected = GNUTranslations(BytesIO(catalog.compiled()))
    assert committed.info() == expected.info()
    for context, text, plural in catalog.stored():
        assert _looked_up(committed, context, text, plural) == _looked_up(expected, context, text, plural)
        assert _looked_up(committed, context, text, plural) != "" or not text


def _looked_up(compiled: GNUTranslations, context: str, text: str, plural: str) -> str:
    if plural:
        return compiled.npgettext(context, text, plural, 2) if context else compiled.ngettext(text, plural, 2)
    return compiled.pgettext(context, text) if context else compiled.gettext(text)


@pytest.mark.parametrize(
    "source",
    [
        '_("Nobody has translated this.")',
        '_("Nobody has "\n  "translated this.")',
        'gettext_lazy("Nobody has translated this.")',
        'pgettext("somewhere", "Nobody has translated this.")',
        'ngettext("%(count)d thing is new.", "%(count)d things are new.", count)',
        'f(label=_("Nobody has translated this.") % {"a": _("Team")})',
    ],
)
def test_a_new_text_in_the_code_is_missed(source: str) -> None:
    assert len(untranslated(marked(source), catalog.stored())) == 1


@pytest.mark.parametrize(
    "template",
    [
        '{% translate "Nobody has translated this." %}',
        "<p title=\"{% translate 'Nobody has translated this.' %}\">",
        "{% blocktranslate with a=b.c trimmed %}\n  Nobody has\n  <b>translated</b> {{ a }}."
        "\n{% endblocktranslate %}",
        "    {% if a %}\n  {% blocktranslate count n=a %}{{ n }} new thing{% plural %}{{ n }} new things"
        "{% endblocktranslate %}\n        {% endif %}",
        '{{ a|default:_("Nobody has translated this.") }}',
        '{% translate "Team" context "of oxen" %}',
    ],
)
def test_a_new_text_in_a_template_is_missed(template: str) -> None:
    needed = {catalog.key_of(found): found for found in catalog.marked_in_template(template)}
    assert len(untranslated(needed, catalog.stored())) == 1


def test_a_guess_does_not_count_as_a_translation() -> None:
    [(key, message)] = marked('_("Team")').items()
    stored = catalog.stored()
    assert untranslated({key: message}, stored) == []
    stored[key].flags.add("fuzzy")
    assert untranslated({key: message}, stored) == ["Team"]


# --- Right ----------------------------------------------------------------------------------------

EVERY = sorted(catalog.stored().items())


def wrong_values(message: Message) -> list[str]:
    """Translations that take other values than the text, or hold other tags."""
    _context, text, plural = catalog.key_of(message)
    wanted = Counter(_VALUES.findall(plural or text))
    return [found for found in catalog.texts(message) if Counter(_VALUES.findall(found)) != wanted]


def test_every_translation_takes_the_values_of_its_text() -> None:
    assert [found for _key, message in EVERY for found in wrong_values(message)] == []


@pytest.mark.parametrize(
    ("text", "translation_"),
    [
        ("%(count)d of %(all)s", "%(all)s 中 %(coutn)d"),
        ("%(seconds).2f s", "%(seconds)d 秒"),
        ("%s s", "秒"),
        ("<code>%(n)s</code>", "<kbd>%(n)s</kbd>"),
        ("${name}", "{name}"),
    ],
)
def test_a_translation_with_other_values_is_noticed(text: str, translation_: str) -> None:
    assert wrong_values(Message(text, translation_)) == [translation_]
    assert wrong_values(Message(text, text)) == []


def test_a_message_has_one_form_for_every_number() -> None:
    plurals = [message for (_context, _text, plural), message in EVERY if plural]
    assert len(plurals) > 10
    assert {len(catalog.texts(message)) for message in plurals} == {1}


def test_translations_are_japanese() -> None:
    latin = {text for (_c, text, _p), found in EVERY if not _JAPANESE.search(catalog.texts(found)[0])}
    latin = {text for text in latin if re.search("[A-Za-z]", text)}
    assert latin <= KEPT
    assert not KEPT - {text for (_c, text, _p), _found in EVERY}


def test_sentences_are_sentences_in_both_languages() -> None:
    odd = [text for (_c, text, _p), found in EVERY if _ends(text) != _ends(catalog.texts(found)[0])]
    assert odd == []


def _ends(text: str) -> str:
    """How it ends, in one notation for both languages."""
    last = text.rstrip("”」）) ")[-1:]
    return {"。": ".", "？": "?", ":": ":", "：": ":"}.get(last, last if last in ".?:" else "")


@pytest.mark.parametrize(
    "wrong", ["閾値", "ウェブフック", "ｱ", "  ", "アーティファクト", "、.", "して下さい", "（(", "”", "“"]
)
def test_one_spelling_for_one_thing(wrong: str) -> None:
    assert [found for _key, message in EVERY for found in catalog.texts(message) if wrong in found] == []


# --- Labels that are fixed ------------------------------------------------------------------------

LABELS = {
    "A new version is linked to a collection": "新しいバージョンがコレクションにリンクされた",
    "An artifact alias is added": "Artifact エイリアスが追加された",
    "A new version is added to an artifact": "Artifact に新しいバージョンが追加された",
    "An artifact tag is added": "Artifact タグが追加された",
    "Run status change": "Run ステータスの変更",
    "Run metrics threshold met": "しきい値",
    "Run metrics change threshold met": "変化のしきい値",
    "Run metrics z-score threshold met": "z-score 変化",
    "Threshold": "しきい値",
    "Average": "平均",
    "Minimum": "最小",
    "Maximum": "最大",
    "Current window": "現在のウィンドウ",
    "Prior window": "以前のウィンドウ",
    "Relative": "相対値",
    "Absolute": "絶対値",
    "above": "より大きい",
    "above or equal": "以上",
    "below": "より小さい",
    "below or equal": "以下",
    "not equal": "等しくない",
    "equal": "等しい",
    "increases by at least": "少なくとも〜増加",
    "decreases by at least": "少なくとも〜減少",
    "increases or decreases by at least": "少なくとも〜増加または減少",
}


@pytest.mark.parametrize(("english", "japanese"), LABELS.items())
def test_a_fixed_label_is_said_as_agreed(english: str, japanese: str) -> None:
    with translation.override("ja"):
        assert translation.gettext(english) == japanese


def test_forms_show_the_fixed_labels() -> None:
    with translation.override("ja"):
        shown = {str(event.label) for event in EVENTS}
        for event in EVENTS:
            for field in event.config_form().fields.values():
                shown.add(str(field.label))
                shown |= {str(label) for _value, label in getattr(field, "choices", ())}
    assert set(LABELS.values()) <= shown
