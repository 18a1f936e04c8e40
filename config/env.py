"""Typed reading of environment variables.

Nonsense never raises here: it is collected in `problems` with the variable's name, and the system
check `tripline.E001` refuses to start with it, so that everything that is wrong is said at once.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography.fernet import Fernet

from automations.actions.targets import IPNetwork, parse_cidrs

problems: list[str] = []

_LONGEST_DELAY = 7 * 86_400
_MOST_DELAYS = 100


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def choice(name: str, default: str, options: tuple[str, ...]) -> str:
    value = text(name) or default
    if value in options:
        return value
    problems.append(f"{name} is {value!r}; it must be one of: {', '.join(options)}.")
    return default


def flag(name: str, *, default: bool) -> bool:
    return choice(name, "1" if default else "0", ("0", "1")) == "1"


def seconds(name: str, default: float, *, minimum: float = 0.0) -> float:
    value = text(name)
    if not value:
        return default
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if minimum <= number < float("inf"):
        return number
    problems.append(f"{name} is {value!r}; it must be a number of seconds, at least {minimum:g}.")
    return default


def schedule(name: str) -> tuple[float, ...]:
    """Delays in seconds, between commas or spaces; the first is 0."""
    try:
        delays = tuple(float(word) for word in words(name))
    except ValueError:
        delays = (-1.0,)
    if all(0 <= delay <= _LONGEST_DELAY for delay in delays) and len(delays) <= _MOST_DELAYS:
        return delays
    problems.append(
        f"{name} is {text(name)!r}; it must be at most {_MOST_DELAYS} delays in seconds, such as 0,5,300."
    )
    return ()


def whole(name: str, default: int) -> int:
    value = text(name)
    if not value:
        return default
    if value.isascii() and value.isdecimal() and len(value) < 7:
        return int(value)
    problems.append(f"{name} is {value!r}; it must be a whole number, 0 or more.")
    return default


def interval(name: str, default: float, *, minimum: float) -> float:
    """Seconds from one time to the next; 0 means never."""
    value = seconds(name, default)
    if value == 0 or value >= minimum:
        return value
    problems.append(f"{name} is {text(name)!r}; it must be 0 (never) or at least {minimum:g} seconds.")
    return default


def token(name: str) -> str:
    """A secret that a client sends in a header, or "" when it is not set."""
    value = text(name)
    if value and not (len(value) >= 16 and value.isascii() and value.isprintable() and " " not in value):
        # It is not repeated here: what is said at start lies in logs.
        problems.append(f"{name} must have 16 characters or more, ASCII and without spaces.")
        return ""
    return value


def words(name: str) -> list[str]:
    """Values separated by commas or spaces."""
    return text(name).replace(",", " ").split()


def networks(name: str) -> list[IPNetwork]:
    """CIDR blocks, for instance `10.0.0.0/8,192.168.1.5/32`."""
    try:
        return parse_cidrs(text(name))
    except ValueError as error:
        problems.append(f"{name}: {error}.")
        return []


def base_url(name: str) -> str:
    """An http(s) address without trailing slash, or "" when it is not set."""
    value = text(name).rstrip("/")
    if value:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            problems.append(f"{name} is {value!r}; it must look like https://tripline.example.com.")
            return ""
    return value


def postgres(name: str) -> dict[str, object] | None:
    """A Django database entry from `postgres://user:password@host:port/name`, or None when not set."""
    value = text(name)
    if not value:
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        problems.append(f"{name} cannot be read: {error}.")
        return None
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        problems.append(f"{name} must look like postgres://user:password@host:5432/name.")
        return None
    options = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    host = options.pop("host", None) or parts.hostname or ""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(host),
        "PORT": str(port or ""),
        "OPTIONS": {key: unquote(option) for key, option in options.items()},
    }


def smtp(name: str) -> dict[str, object]:
    """Django's e-mail settings from `smtp://user:password@host:587?tls=1` (`smtps://` for implicit TLS)."""
    value = text(name)
    if not value:
        return {"EMAIL_HOST": ""}
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        problems.append(f"{name} cannot be read: {error}.")
        return {"EMAIL_HOST": ""}
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        problems.append(f"{name} must look like smtp://user:password@mail.example.com:587?tls=1.")
    return {
        "EMAIL_HOST": parts.hostname or "",
        "EMAIL_PORT": port or (465 if parts.scheme == "smtps" else 25),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp" and "tls=1" in parts.query.split("&"),
    }


def redis_url(name: str) -> str:
    value = text(name)
    if value and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        problems.append(f"{name} must look like redis://host:6379/0.")
        return ""
    return value


def generated(path: Path, make: Callable[[], str]) -> str:
    """The text in `path`, made at the first start and readable by its owner alone (mode 0600)."""
    try:
        return _kept(path, make)
    except OSError as error:
        problems.append(f"TRIPLINE_DATA_DIR: {path} cannot be used ({error.strerror}).")
        return make()


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(make())
        # link() fails when another process was first: its key is the one to use.
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def new_secret_key() -> str:
    return secrets.token_urlsafe(50)


def new_fernet_key() -> str:
    return Fernet.generate_key().decode()


def fernet_keys(name: str, fallback: Callable[[], str]) -> list[str]:
    """Fernet keys: the first encrypts, all decrypt. `fallback` gives the only key when none is set."""
    keys = words(name)
    good: list[str] = []
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            problems.append(f"{name}: key {position} is no Fernet key (32 bytes, URL-safe base64).")
        else:
            good.append(key)
    return good if keys else [fallback()]
