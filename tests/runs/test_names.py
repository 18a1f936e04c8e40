from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError

from runs import names
from runs.errors import Conflict
from runs.services.people import create_team
from runs.services.projects import create_project
from runs.services.runs import start_run, update_run
from tests.cast import Cast, new_run

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("validate", "good", "bad"),
    [
        (names.validate_text, ["", "tab\tand line\n", "本番"], ["a\x00b", "a\ud800b"]),
        (
            names.validate_name,
            ["a / b: 100 %?", "本番", " padded "],
            ["", "  ", "a\nb", "a\x7f", "\x00", "\udfff"],
        ),
        (
            names.validate_path_name,
            ["a b", "a.b", "v1", "実験", "..."],
            ["a/b", "a\\b", "a:b", "a#b", "a?b", "a%b", ".", "..", " a", "a ", "", "a\x00", "a\ud800"],
        ),
        (
            names.validate_team_name,
            ["penguins", "administrators"],
            ["admin", "API", "Static", "registries", "Teams", "profile", "search"],
        ),
        (names.validate_metric_name, ["val/loss", "a.b", " ", "x" * 250], ["", "x" * 251, "a\x00", "\ud800"]),
    ],
)
def test_names_follow_their_grammar(validate: Callable[[str], None], good: list[str], bad: list[str]) -> None:
    for name in good:
        validate(name)
    for name in bad:
        with pytest.raises(ValidationError):
            validate(name)


@pytest.mark.django_db
class TestSaving:
    def test_two_spellings_of_one_name_are_one_name(self, penguins: Cast) -> None:
        assert create_project(penguins.team, DECOMPOSED).name == COMPOSED
        with pytest.raises(Conflict) as refusal:
            create_project(penguins.team, COMPOSED)
        assert set(refusal.value.message_dict) == {"name"}

    def test_two_spellings_of_one_run_id_are_one_run(self, penguins: Cast) -> None:
        first, created = start_run(penguins.project, None, run_id=COMPOSED)
        again, created_again = start_run(penguins.project, None, run_id=DECOMPOSED)
        assert (created, created_again) == (True, False)
        assert again == first

    def test_the_same_project_name_in_another_team_is_free(self, penguins: Cast) -> None:
        assert create_project(penguins.otters, penguins.project.name).pk != penguins.project.pk

    def test_a_team_name_is_taken_for_everybody(self, penguins: Cast) -> None:
        with pytest.raises(Conflict):
            create_team(penguins.team.name)

    @pytest.mark.parametrize("name", ["x" * 129, "a/b", "nul\x00", "lone\ud800"])
    def test_a_bad_name_is_refused_by_field_and_nothing_is_stored(self, penguins: Cast, name: str) -> None:
        with pytest.raises(ValidationError) as refusal:
            create_project(penguins.team, name)
        assert set(refusal.value.message_dict) == {"name"}
        assert penguins.team.projects.count() == 1

    @pytest.mark.parametrize("run_id", ["x" * 129, "a/b", "nul\x00", "lone\ud800"])
    def test_a_bad_run_id_is_refused_by_field(self, penguins: Cast, run_id: str) -> None:
        with pytest.raises(ValidationError) as refusal:
            start_run(penguins.project, None, run_id=run_id)
        assert set(refusal.value.message_dict) == {"run_id"}
        assert penguins.project.runs.count() == 0

    @pytest.mark.parametrize("name", ["x" * 251, "  ", "nul\x00", "lone\ud800"])
    def test_a_run_keeps_its_name_when_the_new_one_is_bad(self, penguins: Cast, name: str) -> None:
        run = new_run(penguins.project, name="good")
        with pytest.raises(ValidationError) as refusal:
            update_run(run, name=name)
        assert set(refusal.value.message_dict) == {"name"}
        run.refresh_from_db()
        assert run.name == "good"
