"""Secrets, integrations and inboxes in the admin: written by services, and what is secret never read."""

from __future__ import annotations

import pytest

from automations import vault
from automations.models import Automation, Delivery, DeliveryState, Inbox, Integration, Secret
from runs.models import Role, RunStatus
from runs.services import people
from runs.services.runs import set_status
from tests.adminpages import Pages, errors, text
from tests.cast import Cast, decide, deliver, new_run, rule, secret, sends, webhook


@pytest.fixture
def ada(penguins: Cast) -> Pages:
    """Ada, admin of the penguins and one of the staff."""
    penguins.ada.is_staff = True
    penguins.ada.save()
    return Pages(penguins.ada)


def test_a_secret_is_written_and_never_read(penguins: Cast, ada: Pages) -> None:
    fields = {"team": penguins.team.pk, "name": "TOKEN", "value": "very secret"}
    assert ada.save(ada.add_url(Secret), **fields).status_code == 302
    kept = Secret.objects.get()
    assert vault.decrypt(kept.ciphertext) == "very secret"
    page = ada.client.get(ada.change_url(kept)).content.decode()
    assert "very secret" not in page
    assert kept.ciphertext not in page
    assert ada.save(ada.change_url(kept), name="KEY").status_code == 302
    kept.refresh_from_db()
    assert (kept.name, vault.decrypt(kept.ciphertext)) == ("KEY", "very secret")
    ada.save(ada.change_url(kept), value=" other ")
    kept.refresh_from_db()
    assert vault.decrypt(kept.ciphertext) == " other "
    refused = ada.save(ada.add_url(Secret), **{**fields, "name": "KEY"})
    assert "exists" in str(errors(refused))
    assert "very secret" not in refused.content.decode()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"value": ""}, "value"),
        ({"value": "a\x00b"}, "value"),
        ({"value": "x" * 10_001}, "value"),
        ({"value": "whsec_!"}, "value"),
        ({"name": "9 lives"}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"team": ""}, "team"),
    ],
)
def test_an_impossible_secret_is_a_form_error(
    penguins: Cast, ada: Pages, changes: dict[str, str], field: str
) -> None:
    fields = {"team": penguins.team.pk, "name": "TOKEN", "value": "x", **changes}
    assert list(errors(ada.save(ada.add_url(Secret), **fields))) == [field]
    assert not Secret.objects.exists()


def test_an_integration_keeps_its_url_to_itself(penguins: Cast, ada: Pages) -> None:
    token = secret(penguins.team, "TOKEN", "token")
    fields = {
        "team": penguins.team.pk,
        "type": "webhook",
        "name": "hook",
        "url": "https://example.com/path/xyz",
    }
    assert ada.save(ada.add_url(Integration), **fields, access_token=token.pk).status_code == 302
    hook = Integration.objects.get()
    page = ada.client.get(ada.change_url(hook))
    assert "example.com" in text(page)
    assert "xyz" not in page.content.decode()
    assert ada.save(ada.change_url(hook), timeout=20).status_code == 302
    hook.refresh_from_db()
    assert (hook.timeout, vault.decrypt(hook.url_ciphertext)) == (20, fields["url"])
    ada.save(ada.change_url(hook), url="https://example.org/")
    hook.refresh_from_db()
    assert hook.host == "example.org"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "http://a\x00b/"}, "url"),
        ({"type": "pigeon"}, "type"),
        ({"timeout": "99"}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"access_token": "77"}, "access_token"),
        ({"name": "a\x00"}, "name"),
    ],
)
def test_an_impossible_integration_is_a_form_error(
    penguins: Cast, ada: Pages, changes: dict[str, str], field: str
) -> None:
    fields = {
        "team": penguins.team.pk,
        "type": "webhook",
        "name": "hook",
        "url": "https://example.com",
        **changes,
    }
    assert list(errors(ada.save(ada.add_url(Integration), **fields))) == [field]
    assert not Integration.objects.exists()


def test_an_integration_takes_its_own_teams_secrets(penguins: Cast, ada: Pages) -> None:
    people.set_member(penguins.otters, penguins.ada, role=Role.ADMIN)
    ours, theirs = secret(penguins.team, "OURS", "x"), secret(penguins.otters, "THEIRS", "x")
    hook = webhook(penguins.team, "https://example.com", access_token=ours)
    assert set(ada.form(ada.change_url(hook)).options["access_token"]) == {"", str(ours.pk)}
    fields = {"team": penguins.team.pk, "type": "webhook", "name": "new", "url": "https://example.com"}
    refused = ada.save(ada.add_url(Integration), **fields, signing_secret=theirs.pk)
    assert "another team" in errors(refused)["signing_secret"][0]


def test_a_secret_that_no_key_opens_is_a_form_error(penguins: Cast, ada: Pages) -> None:
    token = secret(penguins.team, "TOKEN", "x")
    hook = webhook(penguins.team, "https://example.com", access_token=token)
    Secret.objects.update(ciphertext="damaged")
    assert "TRIPLINE_SECRET_KEYS" in str(errors(ada.save(ada.change_url(hook), timeout=20)))


def test_what_is_in_use_is_not_deleted(penguins: Cast, ada: Pages) -> None:
    token = secret(penguins.team, "TOKEN", "x")
    hook = webhook(penguins.team, "https://example.com", access_token=token)
    rule(penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook))
    for row in (token, hook):
        ada.delete(row)
        ada.act(type(row), "delete_selected", [row])
        assert type(row).objects.filter(pk=row.pk).exists()
    Automation.objects.all().delete()
    ada.delete(hook)
    ada.delete(token)
    assert not Secret.objects.exists()


def test_an_integration_is_disabled_and_enabled(penguins: Cast, ada: Pages) -> None:
    hook = webhook(penguins.team, "https://example.com")
    rule(penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook))
    ada.act(Integration, "disable", [hook])
    assert "ada" in Integration.objects.get().disabled_reason
    set_status(new_run(penguins.project), RunStatus.FAILED, actor=None)
    decide()
    deliver()
    assert Delivery.objects.get().state == DeliveryState.HELD
    ada.act(Integration, "enable", [hook])
    assert (Integration.objects.get().healthy, Delivery.objects.get().state) == (True, DeliveryState.PENDING)


def test_an_inbox_shows_where_to_send_and_what_came(penguins: Cast) -> None:
    penguins.max.is_staff = True
    penguins.max.save()
    pages = Pages(penguins.max)
    assert pages.save(pages.add_url(Inbox), team=penguins.team.pk, name="tray").status_code == 302
    inbox = Inbox.objects.get()
    assert inbox.url in text(pages.client.get(pages.change_url(inbox)))
    assert "exists" in str(errors(pages.save(pages.add_url(Inbox), team=penguins.team.pk, name="tray")))
    assert pages.save(pages.change_url(inbox), name="basket").status_code == 302
    pages.delete(inbox)
    assert not Inbox.objects.exists()
