"""System checks: what is wrong with the environment, said at start and by the variable's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from config import env


@checks.register("tripline")
def environment_is_sensible(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    return [checks.Error(problem, id="tripline.E001") for problem in env.problems]


@checks.register("tripline")
def production_has_its_own_keys(
    app_configs: Sequence[Any] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Generated keys live on one machine's disk: two machines would not read each other's secrets."""
    if settings.TRIPLINE_EMBEDDED:
        return []
    return [
        checks.Error(
            f"{name} is not set. With DATABASE_URL or REDIS_URL every machine must share it.",
            hint=_KEY_HINTS[name],
            id="tripline.E002",
        )
        for name in settings.TRIPLINE_GENERATED_KEYS
    ]


_KEY_HINTS = {
    "SECRET_KEY": 'Make one: python3 -c "import secrets; print(secrets.token_urlsafe(50))"',
    "TRIPLINE_SECRET_KEYS": (
        'Make one: python3 -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
    ),
}


def refuse_nonsense() -> None:
    """Run Tripline's checks where Django itself runs none (gunicorn, Celery).

    Raises `ImproperlyConfigured` with every problem.
    """
    errors = checks.run_checks(tags=["tripline"])
    if errors:
        raise ImproperlyConfigured(" ".join(str(error.msg) for error in errors))
