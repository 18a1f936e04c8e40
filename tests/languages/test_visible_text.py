"""No text that readers see stands in the code without a mark that it is to be translated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.languages import catalog
from tests.languages.visible import unmarked_in_python, unmarked_in_template, words

# What is the same in every language.
NAMES = {"API", "CI", "SHA", "Tripline", "UTC"}
# English for everybody: the reference of the API, the help of the commands, and what the example's people
# named and described.
REFERENCE = re.compile(r"/(api|rest|management|demo)/|/filtersets\.py$")


def _place(path: Path) -> str:
    return path.relative_to(catalog.ROOT).as_posix()


@pytest.mark.parametrize("path", catalog.templates(), ids=_place)
def test_a_template_says_nothing_that_is_not_translated(path: Path) -> None:
    found = unmarked_in_template(path.read_text(encoding="utf-8"))
    assert [text for text in found if not set(words(text)) <= NAMES] == []


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("<p>Nobody translates this.</p>", ["Nobody translates this."]),
        ("<p>{% translate 'This is' %} not</p>", ["not"]),
        ('<a title="Not this">{{ name }}</a>', ["Not this"]),
        ("<input placeholder='Nor this' value='typed'>", ["Nor this"]),
        ("<input type=submit value='Nor this'>", ["Nor this"]),
        ("<code>pip install</code> <pre>a b</pre><script>let word;</script> {# a note #}", []),
        ("{% comment %}a note{% endcomment %}<p>{{ count }} · 3 × 4</p>", []),
        (
            "{% blocktranslate %}This <b>is</b>{% endblocktranslate %}{% if a %}, this is not{% endif %}",
            [", this is not"],
        ),
        ('<a href="{% url "home" %}" aria-label="{% translate "Home" %}"></a>', []),
    ],
)
def test_what_a_template_says_is_found(template: str, expected: list[str]) -> None:
    assert unmarked_in_template(template) == expected


@pytest.mark.parametrize("path", catalog.python_files(), ids=_place)
def test_code_shows_nothing_that_is_not_translated(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert unmarked_in_python(source, reference=bool(REFERENCE.search(f"/{_place(path)}"))) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('raise ValidationError("Nobody translates this.")', ["Nobody translates this."]),
        ('raise ValidationError({"name": "Nor this."})', ["Nor this."]),
        ('raise ValidationError({"name": [f"Nor {this} over here."]})', [" over here."]),
        ('raise ValidationError(_("This is %(a)s.") % {"a": b}, code="some code")', []),
        ('forms.CharField(label="Not this", help_text=_("This."))', ["Not this"]),
        ('models.CharField(gettext_lazy("this"), help_text="Not " "this")', ["Not this"]),
        ('messages.error(request, "Not this: " + name)', ["Not this: "]),
        ('self.message_user(request, _("This."), messages.WARNING)', []),
        ('log.error("This is for the log.")', []),
    ],
)
def test_what_code_shows_is_found(code: str, expected: list[str]) -> None:
    assert unmarked_in_python(code) == expected
