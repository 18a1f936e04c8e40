"""`manage.py createapikey`: one key on stdout, or one sentence."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from runs.models import ApiKey, User
from runs.services import people
from tests.cast import Cast, person
from tests.upserver import environment_of, run_python


def create(username: str, name: str = "") -> str:
    out = StringIO()
    call_command("createapikey", username, *(["--name", name] if name else []), stdout=out)
    return out.getvalue()


def test_the_key_is_all_that_is_printed(penguins: Cast) -> None:
    printed = create("max", "laptop")
    key = ApiKey.objects.get(user=penguins.max)
    assert printed == printed.strip() + "\n"
    assert key.digest == people.digest_of(printed.strip())
    assert (key.name, key.team) == ("laptop", None)


def test_each_call_makes_another_key(penguins: Cast) -> None:
    assert create("ada") != create("ada")
    assert {key.name for key in ApiKey.objects.filter(user=penguins.ada)} == {"command line"}


def test_an_unknown_user_is_answered_with_the_nearest_names(penguins: Cast) -> None:
    with pytest.raises(CommandError) as refusal:
        create("maxx")
    assert str(refusal.value) == "There is no user named 'maxx'. Known: max, …."


def test_where_no_name_is_near_the_known_ones_are_listed(penguins: Cast) -> None:
    with pytest.raises(CommandError, match=r"Known: ada, max, otto, vera\.$"):
        create("zzzzzz")


def test_of_many_users_only_some_are_listed(db: None) -> None:
    for number in range(12):
        person(f"user{number:02}")
    with pytest.raises(CommandError, match=r"Known: user00, .*, user09, …\.$"):
        create("zzzzzz")


def test_before_the_first_user_it_says_how_to_make_one(db: None) -> None:
    with pytest.raises(CommandError, match=r"python3 manage\.py up"):
        create("ada")


def test_a_service_account_gets_no_second_key_and_is_not_named(penguins: Cast) -> None:
    key, _text = people.create_service_key(penguins.team, "robot")
    with pytest.raises(CommandError) as refusal:
        create(key.user.username)
    assert "Known: ada, max, otto, vera." in str(refusal.value)
    assert ApiKey.objects.filter(user=key.user).count() == 1


def test_a_user_who_is_switched_off_gets_no_key(penguins: Cast) -> None:
    User.objects.filter(pk=penguins.max.pk).update(is_active=False)
    with pytest.raises(CommandError, match="'max' is switched off"):
        create("max")
    assert not ApiKey.objects.exists()


def test_an_impossible_name_is_refused(penguins: Cast) -> None:
    with pytest.raises(CommandError, match="250"):
        create("max", "x" * 251)
    assert not ApiKey.objects.exists()


def test_a_database_that_was_never_made_ready_is_explained(tmp_path: Path) -> None:
    done = run_python(environment_of(tmp_path), "manage.py", "createapikey", "admin")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "python3 manage.py up" in done.stderr
    assert "Traceback" not in done.stderr
