"""E-mail: text and HTML, to members only, once under one id, in the team's language, past every odd name."""

from __future__ import annotations

import json
import re
import smtplib
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from pytest_django import Settings

from automations.models import Attempt, Delivery, Execution
from automations.services.rules import ActionDraft
from registry.models import Registry, Visibility
from registry.services.collections import set_registry_member
from runs.models import Member, Role, User
from runs.services import people
from tests import cast
from tests.automations.mailserver import mail_server
from tests.automations.stories import error_of, goes_to_production, integration, loss_is_high
from tests.cast import Cast, Clock

pytestmark = pytest.mark.django_db


def mails(to: list[str], **content: Any) -> list[ActionDraft]:
    return [ActionDraft("email", None, {"to": to, **content})]


@pytest.fixture
def smtp(settings: Settings) -> Any:
    """Sends through Django's own SMTP backend to a port of this machine."""

    def use(port: int) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False

    return use


def html_of(message: Any) -> str:
    [(html, kind)] = message.alternatives
    assert kind == "text/html"
    return str(html)


def test_a_mail_says_the_same_as_text_and_as_html(penguins: Cast) -> None:
    execution = loss_is_high(
        penguins,
        mails(["ada", "MAX@example.com"], subject="${run_name}: ${metric_value}", message="Look at it."),
    )
    cast.deliver()
    [message] = mail.outbox
    assert message.subject == "brisk-otter-1: 0.75"
    assert message.to == ["ada@example.com", "max@example.com"]
    assert execution.event is not None
    for text in (message.body, html_of(message)):
        for said in (
            "Look at it.",
            "Run",
            "brisk-otter-1",
            "penguins/waddle",
            execution.event.data["run_url"],
        ):
            assert said in text
    assert "loss = 0.75 > 0.6 at step 41" in message.body
    assert "loss = 0.75 &gt; 0.6 at step 41" in html_of(message)
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"
    attempt = Attempt.objects.get()
    assert attempt.request == {"to": message.to, "subject": message.subject, "body": message.body}


def test_a_mail_is_readable_on_a_dark_background_too(penguins: Cast) -> None:
    """It says that it knows both, and sets no colour that only one of them can show."""
    loss_is_high(penguins, mails(["ada"], message="Look at it."))
    cast.deliver()
    markup = html_of(mail.outbox[0])
    assert '<meta name="color-scheme" content="light dark">' in markup
    assert not re.search(r"(?<!-)(color|background)\s*:", markup.replace("color-scheme:", "").lower())


def test_it_arrives_at_a_real_mail_server_in_both_forms(penguins: Cast, smtp: Any) -> None:
    with mail_server() as server:
        smtp(server.port)
        loss_is_high(penguins, mails(["ada", "max"]), run_name="本番 <b>&")
        cast.deliver()
    [message] = server.messages
    assert server.recipients == [["ada@example.com", "max@example.com"]]
    assert message["Subject"] == "loss is stuck"
    assert message["Message-ID"] == f"<{Delivery.objects.get().webhook_id}@127.0.0.1>"
    parts = {part.get_content_type(): part.get_content() for part in message.iter_parts()}
    assert "Run: 本番 <b>&" in parts["text/plain"]
    assert "<td>本番 &lt;b&gt;&amp;</td>" in parts["text/html"]
    assert Delivery.objects.get().state == "succeeded"


def test_every_attempt_is_the_same_mail_under_the_same_id(penguins: Cast, smtp: Any, clock: Clock) -> None:
    loss_is_high(penguins, mails(["ada"]))
    with mail_server(END="451 greylisted, come back") as server:
        smtp(server.port)
        cast.deliver()
    delivery = Delivery.objects.get()
    assert (delivery.state, server.messages) == ("pending", [])
    assert "greylisted" in error_of(delivery)

    seen: list[EmailMessage] = []
    for _attempt in range(2):
        clock.move(hours=1)
        with mail_server() as server:
            smtp(server.port)
            cast.deliver()
            seen += server.messages
        Delivery.objects.update(state="pending", next_at=clock())
    first, second = seen
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Subject"] == second["Subject"]


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({"RCPT": "450 mailbox busy"}, "pending"),
        ({"RCPT": "550 no such user"}, "failed"),
        ({"MAIL": "451 not now"}, "pending"),
        ({"MAIL": "550 not from you"}, "failed"),
        ({"END": "554 spam"}, "failed"),
        ({"END": "452 disk full"}, "pending"),
    ],
)
def test_what_a_mail_server_refuses_for_good_is_final_and_else_tried_again(
    penguins: Cast, smtp: Any, answers: dict[str, str], state: str
) -> None:
    loss_is_high(penguins, mails(["ada"]))
    with mail_server(**answers) as server:
        smtp(server.port)
        cast.deliver()
    delivery = Delivery.objects.get()
    assert (delivery.state, server.raw) == (state, [])
    [said] = answers.values()
    assert said[4:] in error_of(delivery)


def test_a_mail_server_that_is_not_there_is_tried_again(penguins: Cast, smtp: Any) -> None:
    with mail_server() as server:
        pass
    loss_is_high(penguins, mails(["ada"]))
    smtp(server.port)
    cast.deliver()
    assert Delivery.objects.get().state == "pending"
    assert error_of(Delivery.objects.get())


def test_a_refused_login_is_the_operators_to_mend_and_its_password_is_not_told(
    penguins: Cast, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.EMAIL_HOST_PASSWORD = "mail-s3cret"

    def refuse(_message: Any, **_options: Any) -> int:
        raise smtplib.SMTPAuthenticationError(535, b"no: mail-s3cret")

    monkeypatch.setattr("django.core.mail.EmailMultiAlternatives.send", refuse)
    loss_is_high(penguins, mails(["ada"]))
    cast.deliver()
    delivery = Delivery.objects.get()
    assert delivery.state == "pending"
    assert "535" in error_of(delivery)
    assert "mail-s3cret" not in error_of(delivery)


def test_without_a_mail_server_it_says_which_variable_to_set_and_waits(
    penguins: Cast, settings: Settings, clock: Clock
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = ""
    loss_is_high(penguins, mails(["ada"]))
    cast.deliver()
    delivery = Delivery.objects.get()
    assert (delivery.state, mail.outbox) == ("pending", [])
    assert "EMAIL_URL" in error_of(delivery)

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    clock.move(hours=1)
    cast.deliver()
    assert len(mail.outbox) == 1


# To members only


@pytest.mark.parametrize(
    "stranger", ["otto", "otto@example.com", "nobody", "x@elsewhere.example", "ada\nbcc"]
)
def test_who_is_no_member_is_refused_at_save_by_name(penguins: Cast, stranger: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        loss_is_high(penguins, mails(["ada", stranger]))
    assert stranger in " ".join(refusal.value.messages)
    assert "“ada”" not in " ".join(refusal.value.messages)
    assert Execution.objects.count() == 0


def test_who_left_the_team_gets_no_mail_any_more(penguins: Cast) -> None:
    loss_is_high(penguins, mails(["ada", "max"]))
    Member.objects.get(user=penguins.max, team=penguins.team).delete()
    cast.deliver()
    assert [message.to for message in mail.outbox] == [["ada@example.com"]]


def test_a_mail_to_nobody_fails_and_says_so(penguins: Cast) -> None:
    loss_is_high(penguins, mails(["max"]))
    User.objects.filter(pk=penguins.max.pk).update(is_active=False)
    cast.deliver()
    delivery = Delivery.objects.get()
    assert (delivery.state, mail.outbox) == ("failed", [])
    assert "member" in error_of(delivery)


def test_an_integration_of_another_team_mails_its_own_members(penguins: Cast) -> None:
    models = cast.registry("models", owner=penguins.ada)
    post = integration(penguins.otters, "email")
    config = {"alias": "^best$"}
    with pytest.raises(ValidationError):
        cast.rule(models, "alias_added", config, actions=[ActionDraft("email", post, {"to": ["ada"]})])
    cast.rule(models, "alias_added", config, actions=[ActionDraft("email", post, {"to": ["otto"]})])


def test_a_registry_mails_those_it_is_open_to_and_those_alone(penguins: Cast) -> None:
    from registry.services.collections import set_alias
    from registry.services.versions import create_version, link_version

    models = cast.registry("models", owner=penguins.ada)
    Registry.objects.filter(pk=models.pk).update(visibility=Visibility.RESTRICTED)
    models.refresh_from_db()
    config = {"alias": "^best$"}
    with pytest.raises(ValidationError, match="otto"):
        cast.rule(models, "alias_added", config, actions=mails(["ada", "otto"]))

    set_registry_member(models, penguins.otto, role=Role.VIEWER)
    cast.rule(models, "alias_added", config, name="best", actions=mails(["ada", "otto"]))
    shelf = cast.collection(models, "shelf")
    version, _new = create_version(cast.collection(penguins.project), actor=penguins.ada)
    link_version(shelf, version, actor=penguins.ada)
    set_alias(shelf, "best", version, actor=penguins.ada)
    cast.decide()
    models.members.filter(user=penguins.otto).delete()
    cast.deliver()
    assert [message.to for message in mail.outbox] == [["ada@example.com"]]

    Registry.objects.filter(pk=models.pk).update(visibility=Visibility.ORGANIZATION)
    Delivery.objects.update(state="pending", next_at=Delivery.objects.get().created_at)
    cast.deliver()
    assert mail.outbox[1].to == ["ada@example.com", "otto@example.com"]


def test_a_rule_for_everybody_mails_only_the_team_where_it_happened(penguins: Cast) -> None:
    cast.rule(penguins.organization, "run_status", {"statuses": ["running"]}, actions=mails(["ada", "otto"]))
    cast.new_run(penguins.project)
    cast.decide()
    cast.deliver()
    assert [message.to for message in mail.outbox] == [["ada@example.com"]]


def test_a_mail_goes_to_a_hundred_people_at_most(penguins: Cast) -> None:
    with pytest.raises(ValidationError, match="100"):
        loss_is_high(penguins, mails(["ada"] * 101))


@pytest.mark.parametrize(
    ("field", "wrong", "near"),
    [("subject", "${run_nam}", "${run_name}"), ("message", "${metric_valu}", "${metric_value}")],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    penguins: Cast, field: str, wrong: str, near: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        loss_is_high(penguins, mails(["ada"], **{field: wrong}))
    assert field in str(refusal.value)
    assert near in str(refusal.value)


# Odd names


def test_a_name_with_a_line_break_adds_no_header(penguins: Cast, smtp: Any) -> None:
    """Names of metrics are the client's, line breaks and all."""
    metric = "loss\r\nBcc: otto@example.com\r\n\r\n<p>\x01"
    cast.rule(
        penguins.project,
        "run_metric_threshold",
        cast.threshold(metric, "above", 0.6),
        actions=mails(["ada"], subject="${metric_name}\nBcc: otto@example.com"),
    )
    cast.log(cast.new_run(penguins.project), metric, [0.75])
    cast.decide()
    with mail_server() as server:
        smtp(server.port)
        cast.deliver()
    [message] = server.messages
    assert server.recipients == [["ada@example.com"]]
    assert message["Bcc"] is None
    assert message["Subject"] == "loss Bcc: otto@example.com <p> Bcc: otto@example.com"


def test_a_very_long_subject_is_cut(penguins: Cast) -> None:
    loss_is_high(penguins, mails(["ada"], subject="${run_name}" * 50), run_name="長" * 250)
    cast.deliver()
    assert mail.outbox[0].subject == "長" * 200


# Language and time zone


def test_dates_are_in_the_teams_language_and_time_zone(penguins: Cast, clock: Clock) -> None:
    """Noon in UTC on the first of September is nine in the evening in Tokyo."""
    penguins.team.language, penguins.team.time_zone = "ja", "Asia/Tokyo"
    penguins.team.save()
    execution = loss_is_high(penguins, mails(["ada"]))
    cast.deliver()
    [message] = mail.outbox
    event = execution.event
    assert event is not None
    there = event.received_at + timedelta(hours=9)
    assert f"{there:%Y}年{there.month}月{there.day}日{there.hour}:{there:%M}" in message.body
    assert "(Asia/Tokyo)" in message.body
    assert '<html lang="ja">' in html_of(message)


def test_one_teams_language_does_not_stay_for_the_next(penguins: Cast) -> None:
    people.set_member(penguins.otters, penguins.ada, role=Role.MEMBER)
    penguins.otters.language = "ja"
    penguins.otters.save()
    models = cast.registry("models", owner=penguins.ada)
    actions = [
        ActionDraft("email", integration(team, "email"), {"to": ["ada"]})
        for team in (penguins.otters, penguins.team)
    ]
    cast.rule(models, "collection_created", {}, actions=actions)
    cast.collection(models, "shelf")
    cast.decide()
    languages = [json.loads(row.body)["html"].count('lang="ja"') for row in Delivery.objects.order_by("pk")]
    assert languages == [1, 0]


def test_a_mail_about_an_artifact_names_version_and_alias(penguins: Cast) -> None:
    goes_to_production(penguins, mails(["ada"], subject="${artifact_version} is ${alias}"))
    cast.deliver()
    [message] = mail.outbox
    assert message.subject == "fish-classifier:v0 is production"
    assert "Version: fish-classifier:v0" in message.body
