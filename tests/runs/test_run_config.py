from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from runs.models import Run
from runs.services.runs import start_run, update_run
from tests.cast import Cast, at_once, new_run


@pytest.mark.django_db
def test_config_is_merged_key_by_key(penguins: Cast) -> None:
    run, _created = start_run(penguins.project, None, run_id="r1", config={"lr": 0.1, "depth": 3})
    update_run(run, config={"lr": 0.2, "seed": 7})
    start_run(penguins.project, None, run_id="r1", config={"resumed": True})
    run.refresh_from_db()
    assert run.config == {"lr": 0.2, "depth": 3, "seed": 7, "resumed": True}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "config", [{"a": "nul\x00"}, {"nul\x00": 1}, {"a": ["lone\ud800"]}, {"a": {"b": float("nan")}}]
)
def test_config_that_cannot_be_stored_is_refused_by_field(penguins: Cast, config: dict[str, Any]) -> None:
    run = new_run(penguins.project)
    with pytest.raises(ValidationError) as refusal:
        update_run(run, config=config)
    assert set(refusal.value.message_dict) == {"config"}
    with pytest.raises(ValidationError) as refusal:
        start_run(penguins.project, None, config=config)
    assert set(refusal.value.message_dict) == {"config"}
    run.refresh_from_db()
    assert run.config == {}
    assert penguins.project.runs.count() == 1


@pytest.mark.django_db(transaction=True)
def test_config_written_by_many_at_once_loses_no_key(penguins: Cast) -> None:
    run = new_run(penguins.project)

    def write(number: int) -> None:
        for turn in range(5):
            update_run(Run.objects.get(pk=run.pk), config={f"{number}.{turn}": turn})

    at_once(6, write)
    run.refresh_from_db()
    assert len(run.config) == 30
