"""Planted secrets, after everything that can go well or wrong: they are found nowhere but as ciphertext."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.urls import NoReverseMatch
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from automations.models import Attempt, Delivery, Execution, Inbox, InboxRequest, Integration, Secret
from automations.services import targets
from automations.services.rules import ActionDraft
from config.logs import JsonFormatter
from tests import cast
from tests.adminpages import Pages, errors
from tests.api.house import Api, House, furnish
from tests.api.test_isolation import places  # every resource, so that a new one is looked at too
from tests.automations.stories import integration, loss_is_high
from tests.cast import Cast, Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

TOKEN = 'token-"p1anted"-\\-x'
SIGNING = "whsec_cDFhbnRlZC1zaWduaW5nLWtleS1vbmU="
PREVIOUS = "p1anted-previous-key"
IN_PATH = "p1antedPathTokenOfSomeLength"
IN_QUERY = "p1anted-in-query"
# What a record of one of them would hold, however it is spelled.
TRACES = ("p1anted", SIGNING, SIGNING.removeprefix("whsec_"), "signing-key-one")
# A sign of ours that no one hides: where it is not found, the search looked at nothing.
MARKER = "canary-in-the-open"


@pytest.fixture
def planted(penguins: Cast, httpserver: HTTPServer) -> dict[str, Integration]:
    """Integrations with all of them, and receivers that repeat all they know."""

    def echo(request: Request) -> Response:
        said: dict[str, object] = {
            "marker": MARKER,
            "headers": dict(request.headers),
            "body": request.get_data(as_text=True),
            "path": request.full_path,
            "url": request.url,
        }
        if "Authorization" in request.headers:
            said |= {"encoded": quote(TOKEN, safe=""), "as it is": TOKEN, "keys": [SIGNING, PREVIOUS]}
        text = json.dumps(said) + (" " * 20_000 if "long" in request.path else "")
        return Response(text, status=500 if "bad" in request.path else 200, headers={"Location": request.url})

    def cut(_request: Request) -> Response:
        """The sixteen kilobytes end in the middle of the token."""
        return Response("x" * (16 * 1024 - 10) + TOKEN)

    secrets = {name: cast.secret(penguins.team, name, value) for name, value in VALUES.items()}
    made: dict[str, Integration] = {}
    for name, handler in {"good": echo, "bad": echo, "long": echo, "cut": cut}.items():
        path = f"/{name}/{IN_PATH}"
        httpserver.expect_request(path).respond_with_handler(handler)
        made[name] = _integration(penguins, name, httpserver.url_for(f"{path}?key={IN_QUERY}"), secrets)
    made["nobody"] = _integration(penguins, "nobody", f"http://127.0.0.1:9/{IN_PATH}?key={IN_QUERY}", secrets)
    httpserver.expect_request(f"/chat/{IN_PATH}").respond_with_handler(echo)
    made["chat"] = integration(penguins.team, "slack", url=httpserver.url_for(f"/chat/{IN_PATH}"))
    return made


VALUES = {"TOKEN": TOKEN, "SIGNING": SIGNING, "PREVIOUS": PREVIOUS}


def _integration(who: Cast, name: str, url: str, secrets: dict[str, Secret]) -> Integration:
    draft = Integration(
        team=who.team,
        type="webhook",
        name=name,
        access_token=secrets["TOKEN"],
        signing_secret=secrets["SIGNING"],
        signing_secret_previous=secrets["PREVIOUS"],
    )
    return targets.save_integration(draft, url=url)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[StringIO]:
    """Every line of every logger at every level, as JSON and as text."""
    written = StringIO()
    handlers = [logging.StreamHandler(written), logging.StreamHandler(written)]
    handlers[0].setFormatter(JsonFormatter())
    root = logging.getLogger()
    caplog.set_level(1)
    for name in (None, "tripline", "celery", "urllib3", "django.request", "django.db.backends"):
        # The test's own statements hold what it plants.
        caplog.set_level(logging.INFO if name == "django.db.backends" else 1, logger=name)
    for handler in handlers:
        # The receivers' own log, which is not ours, says what they were sent.
        handler.addFilter(lambda record: record.name != "werkzeug")
        root.addHandler(handler)
    yield written
    for handler in handlers:
        root.removeHandler(handler)


def fire_everything(who: Cast, planted: dict[str, Integration], settings: Settings, clock: Clock) -> None:
    actions = [
        ActionDraft("webhook", hook, {"payload": {"key": "Bearer ${TOKEN}", "sign": "${SIGNING}"}})
        for name, hook in planted.items()
        if name != "chat"
    ]
    loss_is_high(who, [*actions, ActionDraft("slack", planted["chat"], {})])
    cast.deliver()
    keys = settings.TRIPLINE_SECRET_KEYS
    settings.TRIPLINE_SECRET_KEYS = [Fernet.generate_key().decode()]
    clock.move(hours=1)
    cast.deliver()
    with pytest.raises(CommandError):
        call_command("rotatesecrets", stdout=StringIO())
    settings.TRIPLINE_SECRET_KEYS = keys


def ask_wrongly(api: Api, planted: dict[str, Integration]) -> list[str]:
    """Requests that are refused, and the trials; what came back."""
    hook = planted["good"]
    team = {"team": "penguins"}
    asked = [
        api.post("secrets/", team | {"name": "TOKEN", "value": TOKEN}),
        api.post("secrets/", team | {"name": "1a", "value": TOKEN}),
        api.post("secrets/", team | {"name": "N", "value": "whsec_p1anted!"}),
        api.post("secrets/", team | {"name": "N", "value": [TOKEN]}),
        api.post(
            "integrations/", team | {"type": "webhook", "name": "n", "url": f"ftp://x.example.com/{IN_PATH}"}
        ),
        api.post(
            "integrations/", team | {"type": "webhook", "name": "n", "url": f"http://10.0.0.1/{IN_PATH}"}
        ),
        api.post(
            "integrations/",
            team | {"type": "webhook", "name": "n", "url": f"https://u:{PREVIOUS}@x.example/"},
        ),
        api.post(
            "integrations/", team | {"type": "webhook", "name": "good", "url": f"https://x.example/{IN_PATH}"}
        ),
        api.patch(f"integrations/{hook.pk}/", {"url": f"https://x .example/{IN_PATH}"}),
        api.patch(f"integrations/{hook.pk}/", {"nonsense": 1}),
    ]
    assert {answer.status for answer in asked} <= {400, 409}, asked
    asked += [api.post(f"integrations/{row.pk}/test/") for row in planted.values()]
    return [answer.text for answer in asked]


def stored() -> Iterator[tuple[str, str]]:
    """Every value of every column of every table, as text."""
    for model in apps.get_models():
        for row in model._default_manager.values():
            for column, value in row.items():
                yield f"{model._meta.label}.{column}", json.dumps(value, default=str, ensure_ascii=False)
                yield f"{model._meta.label}.{column}", str(value)


def answers(api: Api, house: House) -> Iterator[tuple[str, str]]:
    """What REST tells of every row of every resource."""
    for place in places(house):
        listed = api.get(f"{place}/?page_size=1000")
        yield place, listed.text
        for row in listed.json["results"]:
            yield f"{place}/{row['id']}/", api.get(f"{place}/{row['id']}/").text
    for inbox in Inbox.objects.all():
        yield "requests", api.get(f"inboxes/{inbox.pk}/requests/").text
    yield "me", api.get("me/").text
    yield "presets", api.get("presets/").text
    yield "schema", api.get("schema/").text


def admin_pages(pages: Pages) -> Iterator[tuple[str, str]]:
    """Every list of ours in the admin, and every form, question and history of a row."""
    for label in ("runs", "registry", "automations"):
        for model in apps.get_app_config(label).get_models():
            try:
                urls = [pages.list_url(model), pages.add_url(model)]
            except NoReverseMatch:
                continue
            for row in model._default_manager.all()[:50]:
                urls += [pages.change_url(row), pages.delete_url(row), pages.history_url(row)]
            for url in urls:
                yield url, pages.client.get(url).content.decode()


def own_pages(pages: Pages) -> Iterator[tuple[str, str]]:
    """The pages of inboxes, and what the admin answers to a secret that it refuses."""
    yield "inboxes", pages.client.get("/inboxes/").content.decode()
    for inbox in Inbox.objects.all():
        Api().ask("POST", f"/inbox/{inbox.token}/", {"sign": MARKER})
        yield "inbox", pages.client.get(f"/inboxes/{inbox.pk}/").content.decode()
    for value in (f"{TOKEN}\x00", "whsec_p1anted!"):
        refused = pages.save(pages.add_url(Secret), name="NEW", value=value)
        assert errors(refused)
        yield "refused", refused.content.decode()


def assert_clean(found: Iterator[tuple[str, str]], *, at_least: int) -> None:
    seen, marked = 0, False
    for place, text in found:
        seen += 1
        marked = marked or MARKER in text
        for trace in TRACES:
            assert trace not in text, f"{trace} in {place}: {text[max(0, text.find(trace) - 100) :][:200]}"
    assert seen >= at_least
    assert marked, "the search has seen none of the answers"


def test_a_planted_secret_is_nowhere_but_as_ciphertext(
    penguins: Cast,
    httpserver: HTTPServer,
    planted: dict[str, Integration],
    log: StringIO,
    settings: Settings,
    clock: Clock,
) -> None:
    house = furnish(penguins.team, penguins.ada, "penguin")
    fire_everything(penguins, planted, settings, clock)
    penguins.ada.is_staff = penguins.ada.is_superuser = True
    penguins.ada.save()
    said = ask_wrongly(Api(penguins.ada), planted)

    sent = "".join(str(request.headers) + request.get_data(as_text=True) for request, _ in httpserver.log)
    assert "p1anted" in sent, "they were really sent"
    assert SIGNING in sent
    assert {row.name for row in Secret.objects.all()} >= set(VALUES)
    assert Attempt.objects.filter(response__contains="[redacted]").count() >= 3
    assert Attempt.objects.exclude(error="").count() >= 2

    assert_clean(stored(), at_least=500)
    assert_clean(answers(Api(penguins.ada), house), at_least=40)
    assert_clean(admin_pages(Pages(penguins.ada)), at_least=60)
    assert_clean(iter([("refusals", text) for text in said]), at_least=16)
    logged = log.getvalue()
    logging.getLogger("tripline.delivery").debug(MARKER)
    assert MARKER in log.getvalue(), "the log is listened to"
    for trace in TRACES:
        assert trace not in logged
    assert_clean(own_pages(Pages(penguins.ada)), at_least=4)
    exported = StringIO()
    call_command("dumpdata", stdout=exported)
    assert all(row.ciphertext in exported.getvalue() for row in Secret.objects.all()), "as ciphertext only"
    assert_clean(iter([("dumpdata", exported.getvalue())]), at_least=1)


def test_an_error_inside_a_delivery_logs_no_secret(
    penguins: Cast, planted: dict[str, Integration], log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("automations.actions.http._answer", broken)
    loss_is_high(penguins, cast.sends(planted["good"], {"key": "${TOKEN}"}))
    cast.deliver()
    assert "ZeroDivisionError" in log.getvalue()
    for trace in TRACES:
        assert trace not in log.getvalue()
        assert trace not in Attempt.objects.get().error


def test_an_inbox_keeps_none_of_what_our_own_messages_carry(
    penguins: Cast, settings: Settings, clock: Clock
) -> None:
    """It is a receiver, and everybody in the team reads it."""
    inbox = targets.save_inbox(Inbox(team=penguins.team, name="in"))
    secrets = {name: cast.secret(penguins.team, name, value) for name, value in VALUES.items()}
    hook = _integration(penguins, "to the inbox", inbox.url, secrets)
    from automations.actions import outgoing, webhook

    loss_is_high(penguins, cast.sends(hook, {"key": "${TOKEN}", "sign": "${SIGNING}", "m": MARKER}))
    delivery = Delivery.objects.select_related("integration").get()
    body = outgoing.filled(delivery, hook)
    assert b"p1anted" in body
    headers = webhook._headers(delivery, hook, body)
    clock.moment = clock.moment.fromtimestamp(int(headers["webhook-timestamp"]), clock.moment.tzinfo)
    door = inbox.url.removeprefix(settings.TRIPLINE_BASE_URL)
    answer = Api().ask("POST", door, raw=body, headers=headers | {"X-Extra": PREVIOUS})
    assert answer.status == 200
    kept = InboxRequest.objects.get()
    assert kept.verdict == "valid", "judged by what came, not by what is kept"
    assert MARKER in kept.body
    for trace in TRACES:
        assert trace not in kept.body + json.dumps(kept.headers)
    assert json.loads(kept.body)["key"] == "[redacted]"


def test_writing_is_all_one_can_do_with_a_secret(penguins: Cast, planted: dict[str, Integration]) -> None:
    api = Api(penguins.ada)
    token = Secret.objects.get(name="TOKEN")
    shown = api.get(f"secrets/{token.pk}/").json
    assert "value" not in shown
    assert "ciphertext" not in json.dumps(shown)
    for query in ("?value=x", "?ciphertext=x", "?ordering=value", "?ordering=ciphertext"):
        assert api.get(f"secrets/{query}").status == 400
    pages = Pages(penguins.ada)
    penguins.ada.is_staff = penguins.ada.is_superuser = True
    penguins.ada.save()
    for row in (token, planted["good"]):
        page = pages.client.get(pages.change_url(row)).content.decode()
        assert "<form" in page
        assert "gAAAA" not in page, "not even the ciphertext"
    assert Execution.objects.count() == 0
