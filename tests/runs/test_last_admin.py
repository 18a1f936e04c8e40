"""A team never loses its last admin, whichever way somebody tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from runs.models import Member, Role, Team, User
from runs.services import people
from tests.api.house import Api
from tests.cast import Cast, at_once, person
from tests.furniture import staff
from tests.pages.visitors import Visitor


def admins(team: Team) -> set[str]:
    return set(Member.objects.filter(team=team, role=Role.ADMIN).values_list("user__username", flat=True))


def membership(team: Team, user: User) -> Member:
    return Member.objects.get(team=team, user=user)


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_the_only_admin_stays_one(penguins: Cast, role: Role) -> None:
    with pytest.raises(ValidationError, match="only admin"):
        people.set_member(penguins.team, penguins.ada, role=role)
    with pytest.raises(ValidationError, match="only admin"):
        people.remove_member(membership(penguins.team, penguins.ada))
    assert admins(penguins.team) == {"ada"}


@pytest.mark.django_db
def test_one_of_two_may_go(penguins: Cast) -> None:
    people.set_member(penguins.team, penguins.max, role=Role.ADMIN)
    people.set_member(penguins.team, penguins.ada, role=Role.VIEWER)
    assert admins(penguins.team) == {"max"}
    people.set_member(penguins.team, penguins.ada, role=Role.ADMIN)
    people.remove_member(membership(penguins.team, penguins.max))
    assert admins(penguins.team) == {"ada"}


@pytest.mark.django_db
def test_who_cannot_sign_in_does_not_count(penguins: Cast) -> None:
    """Neither a service account nor somebody who left; they themselves may go."""
    machine = people.create_service_key(penguins.team, "ci")[0].user
    gone = person("gone")
    User.objects.filter(pk=gone.pk).update(is_active=False)
    for user in (machine, gone):
        people.set_member(penguins.team, user, role=Role.ADMIN)
    with pytest.raises(ValidationError):
        people.set_member(penguins.team, penguins.ada, role=Role.MEMBER)
    for user in (machine, gone):
        people.remove_member(membership(penguins.team, user))
    assert admins(penguins.team) == {"ada"}


@pytest.mark.django_db
def test_over_rest_it_is_a_400(penguins: Cast) -> None:
    ada, place = Api(penguins.ada), f"teams/{penguins.team.pk}/members/"
    mine = membership(penguins.team, penguins.ada).pk
    for refused in (
        ada.patch(f"{place}{mine}/", {"role": "viewer"}),
        ada.delete(f"{place}{mine}/"),
        ada.post(place, {"user": "ada", "role": "member"}),
    ):
        assert (refused.status, list(refused.json)) == (400, ["role"]), refused
    assert admins(penguins.team) == {"ada"}
    assert ada.patch(f"{place}{mine}/", {"role": "admin"}).status == 200


@pytest.mark.django_db
def test_on_the_pages_it_is_said(penguins: Cast) -> None:
    ada, mine = Visitor(penguins.ada), membership(penguins.team, penguins.ada).pk
    sentence = "ada is the only admin of the team: make somebody else an admin first."
    for place in (f"/teams/penguins/members/{mine}/", f"/teams/penguins/members/{mine}/remove/"):
        assert ada.told(place, role="viewer") == [sentence]
    assert admins(penguins.team) == {"ada"}


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"role": "viewer"}, {"DELETE": "on"}])
def test_in_the_admin_it_is_said(penguins: Cast, change: dict[str, str]) -> None:
    place = f"/admin/runs/team/{penguins.team.pk}/change/"
    admin = Visitor(staff(penguins.ada))
    forms = admin.client.get(place).context["inline_admin_formsets"][0].formset
    fields: dict[str, Any] = {"name": "penguins"}
    for form in [forms.management_form, *forms.forms]:
        fields |= {form.add_prefix(name): form[name].value() or "" for name in form.fields}
    (row,) = [form for form in forms.initial_forms if form.instance.user_id == penguins.ada.pk]
    fields |= {row.add_prefix(name): value for name, value in change.items()}
    answer = admin.client.post(place, fields)
    assert answer.status_code == 200
    assert "only admin of the team" in answer.content.decode()
    assert admins(penguins.team) == {"ada"}


@pytest.mark.django_db(transaction=True)
def test_of_two_who_step_down_at_the_same_time_one_stays(penguins: Cast) -> None:
    people.set_member(penguins.team, penguins.max, role=Role.ADMIN)
    both = [penguins.ada, penguins.max]
    refused: list[str] = []

    def step_down(position: int) -> None:
        try:
            people.set_member(penguins.team, both[position], role=Role.VIEWER)
        except ValidationError:
            refused.append(both[position].username)

    work: Callable[[int], None] = step_down
    at_once(2, work)
    assert len(refused) == 1
    assert admins(penguins.team) == set(refused)
