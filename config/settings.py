"""All settings, read from the environment; with nothing set, Tripline runs embedded on SQLite.

`DATABASE_URL` (PostgreSQL) and `REDIS_URL` (Redis or Valkey) make it the production shape; the code
is the same. What each variable means stands in the README.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config import env

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where it lives, and in which shape -----------------------------------------------------------

TRIPLINE_DATA_DIR = Path(env.text("TRIPLINE_DATA_DIR") or BASE_DIR / "var").absolute()
_POSTGRES = env.postgres("DATABASE_URL")
REDIS_URL = env.redis_url("REDIS_URL")
TRIPLINE_EMBEDDED = not (env.text("DATABASE_URL") or env.text("REDIS_URL"))

# The embedded server sets this to the address it serves; links and snippets start with it.
TRIPLINE_BASE_URL = env.base_url("TRIPLINE_BASE_URL") or "http://127.0.0.1:8000"

# --- Keys -----------------------------------------------------------------------------------------

TRIPLINE_GENERATED_KEYS = [name for name in ("SECRET_KEY", "TRIPLINE_SECRET_KEYS") if not env.text(name)]
SECRET_KEY = env.text("SECRET_KEY") or env.generated(TRIPLINE_DATA_DIR / "secret_key", env.new_secret_key)
TRIPLINE_SECRET_KEYS = env.fernet_keys(
    "TRIPLINE_SECRET_KEYS",
    lambda: env.generated(TRIPLINE_DATA_DIR / "fernet_key", env.new_fernet_key),
)

# --- What Tripline does ---------------------------------------------------------------------------

# A run that sent heartbeats and then none for so many seconds has crashed (semantics, section 3).
TRIPLINE_CRASH_AFTER = env.seconds("TRIPLINE_CRASH_AFTER", 300, minimum=1)
# How often the sweep looks for what a lost message left behind, in seconds.
TRIPLINE_SWEEP_EVERY = env.seconds("TRIPLINE_SWEEP_EVERY", 5, minimum=0.1)
# Seconds before the first, second … attempt of a delivery; empty: each kind of action has its own.
TRIPLINE_RETRY_SCHEDULE = env.schedule("TRIPLINE_RETRY_SCHEDULE")
# How often the canary is sent, in seconds; 0 is never.
TRIPLINE_CANARY_EVERY = env.interval("TRIPLINE_CANARY_EVERY", 30, minimum=1)
# What a scraper of /metrics must send as its bearer; unset: from this machine, and for staff.
TRIPLINE_METRICS_TOKEN = env.token("TRIPLINE_METRICS_TOKEN")
# For how long a backtest is worked on while its asker waits, in seconds; a longer one becomes a job.
TRIPLINE_BACKTEST_AT_ONCE = env.seconds("TRIPLINE_BACKTEST_AT_ONCE", 0.4, minimum=0)
# How many requests of one process may wait for events at once; each holds a thread. `up` has 8 of them,
# gunicorn often few.
TRIPLINE_LONG_POLLS = env.whole("TRIPLINE_LONG_POLLS", 4 if TRIPLINE_EMBEDDED else 2)
# Networks that outbound calls may reach although they are not public.
TRIPLINE_ALLOW_PRIVATE_TARGETS = env.networks("TRIPLINE_ALLOW_PRIVATE_TARGETS")
# How many requests a built-in inbox takes per second.
TRIPLINE_INBOX_RATE = 100
# The largest JSON body, in bytes; artifact files are streamed and have no such bound.
TRIPLINE_MAX_BODY = 32 * 1024 * 1024

# --- Django ---------------------------------------------------------------------------------------

DEBUG = False
_OWN_HOST = urlsplit(TRIPLINE_BASE_URL).hostname or "127.0.0.1"
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS") or ["127.0.0.1", "localhost", "[::1]", _OWN_HOST]
CSRF_TRUSTED_ORIGINS = [TRIPLINE_BASE_URL]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
AUTH_USER_MODEL = "runs.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "config",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_filters",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "runs",
    "registry",
    "automations",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.policy.PagePolicy",
    "config.middleware.RequestBoundary",
    "runs.api.shortway.ShortWay",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "runs.language.ReaderLanguage",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "runs.views.home.menu",
                "automations.health.views.mark",
            ]
        },
    }
]

_SQLITE: dict[str, Any] = {
    # SQLite behind one lock per process, see the backend.
    "ENGINE": "config.sqlite",
    "NAME": TRIPLINE_DATA_DIR / "tripline.sqlite3",
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # WAL: readers never wait for the writer. NORMAL: no fsync per commit; a killed process loses
        # nothing, a power cut may lose the last moments (the README says so). A checkpoint every 32 MB: pages
        # that change often are copied back once then, and `up` has a thread of its own for it.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; "
            "PRAGMA cache_size=-4000; PRAGMA wal_autocheckpoint=8000; PRAGMA journal_size_limit=67108864;"
        ),
    },
    # A file, not memory, in tests too: threads and processes must meet in it.
    "TEST": {"NAME": TRIPLINE_DATA_DIR / "test.sqlite3"},
}
DATABASES: dict[str, Any] = {
    "default": {**_POSTGRES, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True} if _POSTGRES else _SQLITE
}

# A connection per thread, kept: opening one anew costs more than most requests.
DATABASES["default"].setdefault("CONN_MAX_AGE", None)

CACHES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ja", "日本語")]
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

# One variable, as with the database and Redis.
globals().update(env.smtp("EMAIL_URL"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("TRIPLINE_EMAIL_FROM") or f"tripline@{_OWN_HOST}"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "config" / "static"]
# Served out of the installed packages: no collectstatic, nothing to forget.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

MEDIA_ROOT = TRIPLINE_DATA_DIR / "files"
FILE_UPLOAD_PERMISSIONS = 0o600
DATA_UPLOAD_MAX_MEMORY_SIZE = TRIPLINE_MAX_BODY

_HTTPS = TRIPLINE_BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = _HTTPS
CSRF_COOKIE_SECURE = _HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None

# What the admin is called; django-unfold does not read the site's own header.
UNFOLD = {"SITE_TITLE": "Tripline", "SITE_HEADER": "Tripline"}

# --- REST -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "runs.rest.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["runs.rest.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "runs.rest.paging.StableOrderingFilter",
    ],
    "DEFAULT_PAGINATION_CLASS": "runs.rest.paging.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "runs.rest.errors.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Tripline",
    "DESCRIPTION": "Runs, metrics, artifacts, registries, and the automations that watch them.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "RoleEnum": "runs.models.Role",
        "RunStatusEnum": "runs.models.RunStatus",
        "DeliveryStateEnum": "automations.models.DeliveryState",
        "ExecutionStateEnum": "automations.models.ExecutionState",
        "VersionStateEnum": "registry.models.VersionState",
    },
}

# --- Celery: the doorbell, never the record -------------------------------------------------------

CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_BROKER_TRANSPORT = None if REDIS_URL else "config.broker:Transport"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_STORE_EAGER_RESULT = False
CELERY_TASK_DEFAULT_QUEUE = "decide"
CELERY_TASK_ROUTES = {"automations.tasks.drain": {"queue": "deliver"}}
# A worker that is told nothing reads both.
CELERY_TASK_QUEUES = {name: {"exchange": name, "routing_key": name} for name in ("decide", "deliver")}
CELERY_TASK_CREATE_MISSING_QUEUES = False
# Tasks wait for the database and for receivers: threads, and more of them than cores.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 16
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Redirecting stdout of the process that also serves would swallow what it prints.
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A message is a hint that the sweep repeats: give up at once rather than hold a request.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = (
    # Without max_retries a publisher that finds the broker gone sleeps for 2 s and asks again.
    {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry_on_timeout": False, "max_retries": 0}
    if REDIS_URL
    else {}
)
CELERY_BROKER_CONNECTION_TIMEOUT = 1.0
CELERY_BEAT_SCHEDULE: dict[str, Any] = {
    "sweep": {
        "task": "automations.tasks.sweep",
        "schedule": TRIPLINE_SWEEP_EVERY,
        # A sweep that waited longer than its own interval is superseded by the next.
        "options": {"expires": max(TRIPLINE_SWEEP_EVERY, 1.0)},
    },
    # Often, because beat forgets at every start when it did what.
    "prune": {"task": "automations.tasks.prune", "schedule": 3600.0},
    "compact": {"task": "automations.tasks.compact", "schedule": 600.0, "options": {"expires": 600.0}},
}
if TRIPLINE_CANARY_EVERY:
    # To both queues, of which one sends it: when the workers of one stand still, it shows where.
    CELERY_BEAT_SCHEDULE |= {
        f"canary through {queue}": {
            "task": "automations.tasks.canary",
            "schedule": TRIPLINE_CANARY_EVERY,
            "options": {"queue": queue, "expires": TRIPLINE_CANARY_EVERY},
        }
        for queue in ("decide", "deliver")
    }
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

# --- Logging --------------------------------------------------------------------------------------

_LOG = env.choice("TRIPLINE_LOG", "text", ("text", "json"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "config.logs.TextFormatter",
            "format": "{asctime} {levelname:<7} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "config.logs.JsonFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": _LOG}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "tripline": {"level": "INFO"},
        "celery": {"level": "WARNING"},
        "waitress": {"level": "WARNING"},
        # 4xx answers are the client's business and said to the client.
        "django.request": {"level": "ERROR"},
        # A foreign Host header is answered by 400; a scanner must not fill the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # It warns that `memory://` names no host.
        "kombu.connection": {"level": "ERROR"},
    },
}

if "DJANGO_SETTINGS_MODULE" not in os.environ:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
