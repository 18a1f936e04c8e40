"""Write verbs for organizations, teams, members and keys."""

from __future__ import annotations

import hashlib
import secrets
import string

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from runs.models import ApiKey, Member, Organization, Role, Team, User
from runs.services.saving import save_named

_ALPHABET = string.ascii_letters + string.digits
KEY_LENGTH = 40


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@transaction.atomic
def create_team(name: str, *, organization: Organization | None = None, owner: User | None = None) -> Team:
    """A new team, with `owner` as its first admin."""
    team = Team(organization=organization or Organization.default(), name=name)
    save_named(team)
    if owner is not None:
        set_member(team, owner, role=Role.ADMIN)
    return team


@transaction.atomic
def set_member(team: Team, user: User, *, role: Role) -> Member:
    """Put `user` into `team`, or change the role they have there.

    Raises `ValidationError` when that would leave the team without an admin.
    """
    if role != Role.ADMIN:
        _require_another_admin(team, user)
    member, _created = Member.objects.update_or_create(team=team, user=user, defaults={"role": role})
    return member


def set_language(user: User, language: str) -> None:
    """What `user` reads from now on; "" is what the browser asks for."""
    user.language = language
    user.clean_fields(exclude=[field.name for field in User._meta.fields if field.name != "language"])
    user.save(update_fields=["language"])


@transaction.atomic
def remove_member(member: Member) -> None:
    """What the person made stays; their keys see nothing of the team any more.

    Raises `ValidationError` when that would leave the team without an admin.
    """
    _require_another_admin(member.team, member.user)
    member.delete()


def _require_another_admin(team: Team, user: User) -> None:
    """Unless `user` is no admin. Under the team's lock, so that two do not step down at the same time."""
    Team.objects.select_for_update().get(pk=team.pk)
    admins = Member.objects.filter(
        team=team, role=Role.ADMIN, user__is_active=True, user__is_service=False
    ).values_list("user", flat=True)
    if list(admins) == [user.pk]:
        problem = _("%(name)s is the only admin of the team: make somebody else an admin first.")
        raise ValidationError({"role": problem % {"name": user.username}})


def _new_key(user: User, name: str, *, team: Team | None = None) -> tuple[ApiKey, str]:
    text = "tl-" + "".join(secrets.choice(_ALPHABET) for _i in range(KEY_LENGTH))
    key = ApiKey(user=user, team=team, name=name, prefix=text[:8], digest=digest_of(text))
    key.full_clean(exclude=["digest"])
    key.save()
    return key, text


def create_key(user: User, name: str) -> tuple[ApiKey, str]:
    """A key of `user`'s own. Returns (row, key): the key is not stored and cannot be shown again."""
    if user.is_service:
        raise ValidationError({"name": _("A service account has the one key it was made with.")})
    return _new_key(user, name)


@transaction.atomic
def create_service_key(team: Team, name: str) -> tuple[ApiKey, str]:
    """A key that belongs to `team`: it acts as an account of its own that is a member of that team."""
    account = User(username=f"service-{team.name}-{secrets.token_hex(4)}"[:150], is_service=True)
    account.set_unusable_password()
    account.save()
    set_member(team, account, role=Role.MEMBER)
    return _new_key(account, name, team=team)


@transaction.atomic
def revoke_key(key: ApiKey) -> None:
    """Delete the key; a service account goes out of service with it and stays in the history."""
    key.delete()
    if key.user.is_service:
        key.user.memberships.all().delete()
        User.objects.filter(pk=key.user_id).update(is_active=False)
