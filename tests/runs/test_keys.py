from __future__ import annotations

import hashlib
import re

import pytest
from django.core.exceptions import ValidationError
from django.forms.models import model_to_dict

from runs import access
from runs.models import ApiKey, Member, Role, User
from runs.services.people import create_key, create_service_key, digest_of, revoke_key
from tests.cast import Cast, new_run

pytestmark = pytest.mark.django_db


def test_a_key_is_shown_once_and_stored_as_its_hash(penguins: Cast) -> None:
    row, text = create_key(penguins.ada, "laptop")
    assert re.fullmatch(r"tl-[A-Za-z0-9]{40}", text)
    stored = model_to_dict(ApiKey.objects.get(pk=row.pk))
    stored |= {"digest": row.digest, "prefix": row.prefix}
    assert not any(text in str(value) for value in stored.values())
    assert row.digest == hashlib.sha256(text.encode()).hexdigest() == digest_of(text)
    assert text.startswith(row.prefix)
    assert len(row.prefix) <= 8


def test_no_two_keys_are_equal(penguins: Cast) -> None:
    keys = {create_key(penguins.ada, "laptop")[1] for _again in range(20)}
    assert len(keys) == 20


@pytest.mark.parametrize("name", ["", "  ", "nul\x00", "x" * 251])
def test_a_key_needs_a_sensible_name(penguins: Cast, name: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        create_key(penguins.ada, name)
    assert set(refusal.value.message_dict) == {"name"}


def test_a_service_key_acts_as_a_member_of_its_team_alone(penguins: Cast) -> None:
    row, _text = create_service_key(penguins.team, "ci")
    account = row.user
    assert row.team == penguins.team
    assert account.is_service
    assert not account.has_usable_password()
    assert access.has_role(account, penguins.team, Role.MEMBER)
    assert not access.has_role(account, penguins.team, Role.ADMIN)
    assert not access.has_role(account, penguins.otters, Role.VIEWER)


def test_a_service_account_gets_no_second_key(penguins: Cast) -> None:
    row, _text = create_service_key(penguins.team, "ci")
    with pytest.raises(ValidationError):
        create_key(row.user, "another")


def test_a_refused_service_key_leaves_no_account_behind(penguins: Cast) -> None:
    before = User.objects.count()
    with pytest.raises(ValidationError):
        create_service_key(penguins.team, " ")
    assert User.objects.count() == before


def test_revoking_a_service_key_ends_its_account_and_keeps_its_history(penguins: Cast) -> None:
    row, _text = create_service_key(penguins.team, "ci")
    account = row.user
    run = new_run(penguins.project, user=account)
    revoke_key(row)

    account.refresh_from_db()
    assert not account.is_active
    assert not Member.objects.filter(user=account).exists()
    assert not ApiKey.objects.filter(digest=row.digest).exists()
    run.refresh_from_db()
    assert run.user == account


def test_revoking_a_persons_key_leaves_the_person_alone(penguins: Cast) -> None:
    row, _text = create_key(penguins.ada, "laptop")
    revoke_key(row)
    penguins.ada.refresh_from_db()
    assert penguins.ada.is_active
    assert access.has_role(penguins.ada, penguins.team, Role.ADMIN)
