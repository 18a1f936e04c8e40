"""The integrations that the actions of a rule may send to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.utils.translation import gettext as _

from automations.access import Scope
from automations.models import Integration
from automations.services.rules import ActionDraft, team_of_scope
from runs import access as runs_access, keyset
from runs.access import Person
from runs.models import Role, Team

# So many of a type are offered, by name.
OFFERED = 100


class Targets:
    """Of the scope's team, or where the scope is in none of any team in which the person is a member.

    What the rule sends to already may stay (`kept`). Read once for all rows, a query for each type.
    """

    def __init__(self, person: Person, scope: Scope | None, kept: Sequence[ActionDraft] = ()) -> None:
        self.person, self.scope = person, scope
        self._kept = {draft.integration.pk for draft in kept if draft.integration}
        self._found: dict[tuple[str, str], list[Integration]] = {}
        self._known: dict[int, Integration | None] = {}

    @cached_property
    def team(self) -> Team | None:
        return team_of_scope(self.scope) if self.scope is not None else None

    def _usable(self, *, anywhere: bool = False) -> QuerySet[Integration]:
        teams = runs_access.teams(self.person, at_least=Role.MEMBER)
        mine = Q(team__in=teams.values("pk"))
        found = Integration.objects.annotate(is_mine=ExpressionWrapper(mine, output_field=BooleanField()))
        if self.team is not None and not anywhere:
            mine &= Q(team=self.team)
        found = found.filter(mine | Q(pk__in=self._kept))
        return found.select_related("team", "access_token", "signing_secret")

    def _of_type(self, action_type: str, search: str) -> list[Integration]:
        """One more than is offered, to see whether there are more."""
        if (action_type, search) not in self._found:
            found = self._usable().filter(type=action_type, name__icontains=search)
            read = list(found.order_by("team__name", "name")[: OFFERED + 1])
            self._found[action_type, search] = read
            self._known |= {integration.pk: integration for integration in read}
        return self._found[action_type, search]

    def is_long(self, action_type: str, search: str) -> bool:
        """Whether not all of them are offered, so that one may search by a part of the name."""
        return bool(search) or len(self._of_type(action_type, search)) > OFFERED

    def choices(self, action_type: str, chosen: str, search: str = "") -> list[tuple[str, str]]:
        """What was chosen is among them, though it were one of very many."""
        found = self._of_type(action_type, search)[:OFFERED]
        number = keyset.number(chosen)
        if number is not None and number not in {integration.pk for integration in found}:
            extra = self.get(number)
            found = [*found, extra] if extra and extra.type == action_type else found
        return [(str(integration.pk), self._words(integration)) for integration in found]

    def _words(self, integration: Integration) -> str:
        if not integration.is_mine:  # type: ignore[attr-defined]  # annotated
            return _("an integration of another team")
        return integration.name if self.team is not None else f"{integration.team.name}/{integration.name}"

    def get(self, pk: int | None) -> Integration | None:
        """One that the person may send to, of whatever team and type: what fits is asked by the services."""
        if pk is not None and pk not in self._known:
            self._known[pk] = self._usable(anywhere=True).filter(pk=pk).first()
        return self._known[pk] if pk is not None else None

    @cached_property
    def likely_type(self) -> str:
        """What a first action probably is: of the type of the newest integration, else a webhook."""
        newest = self._usable().order_by("-pk").first()
        return newest.type if newest else "webhook"
