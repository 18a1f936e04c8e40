"""Time and number of queries of every list of the REST interface on a large database.

    python -m tests.bench.lists [--runs 100000] [--executions 1000000] [--versions 100000] [--others 10000]
                                [--rounds 5] [--page 20] [--shape embedded]

No servers: GET requests in process, as a member of one team, in turn to a database with 50 rows of each kind
and to a large one. A third of everything, the newest included, belongs to another team. Each list is asked
plainly, with the filters and orders that people use, and for a page in the middle of it (`deep`). Prints a
table (on stderr, as it grows), at its end the slowest, and one line of JSON; times are medians in
milliseconds, of the processor where all is done in one process (embedded).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.apart import Apart, databases
from tests.bench.houses import load

if TYPE_CHECKING:
    from django.db.models import Model

    from tests.api.house import House

SMALL = {"runs": 50, "executions": 50, "versions": 50, "others": 50}
PORTIONS = 10
SHOWN = 12
# Path, and where a page in the middle can be asked for, the model that it lists.
LISTS = {
    "me/": "",
    "users/": "runs.User",
    "users/?ordering=username": "runs.User",
    "users/?username=person-400": "",
    "keys/": "",
    "organizations/": "",
    "teams/": "",
    "teams/{team}/members/": "",
    "projects/": "runs.Project",
    "projects/?ordering=name": "runs.Project",
    "projects/?team=penguins&name=project-400": "",
    "runs/": "runs.Run",
    "runs/?ordering=created_at": "runs.Run",
    "runs/?ordering=name": "runs.Run",
    "runs/?ordering=-status": "runs.Run",
    "runs/?project={project}": "runs.Run",
    "runs/?project={project}&ordering=-created_at": "runs.Run",
    "runs/?project={project}&ordering=name": "runs.Run",
    "runs/?project={project}&status=failed": "",
    "runs/?project={project}&status=preempted": "",
    "runs/?project={project}&created_after=2026-01-01T00:00:00Z": "",
    "runs/?status=failed": "",
    "runs/?status=preempted": "",
    "runs/?user=ada": "",
    "runs/?user=nobody": "",
    "runs/?name=run-40": "",
    "runs/?name=nothing": "",
    "runs/?created_after=2026-01-01T00:00:00Z": "",
    "runs/?created_before=2001-01-01T00:00:00Z": "",
    "runs/{run}/metrics/": "",
    "registries/": "",
    "registries/{registry}/members/": "",
    "collections/": "registry.Collection",
    "collections/?ordering=name": "registry.Collection",
    "collections/?project={project}": "",
    "collections/?registry={registry}": "",
    "collections/?name=collection-400": "",
    "collections/?tag=rare": "",
    "collections/?type=dataset": "",
    "versions/": "registry.ArtifactVersion",
    "versions/?ordering=-size": "registry.ArtifactVersion",
    "versions/?ordering=created_at": "registry.ArtifactVersion",
    "versions/?collection={collection}": "",
    "versions/?collection={shelf}": "",
    "versions/?run={run}": "",
    "versions/?digest=digest-400": "",
    "versions/?state=pending": "",
    "versions/?tag=rare": "",
    "secrets/": "",
    "integrations/": "",
    "inboxes/": "",
    "inboxes/{inbox}/requests/": "",
    "automations/": "automations.Automation",
    "automations/?ordering=name": "automations.Automation",
    "automations/?project={project}": "",
    "automations/?event=run_metric_nonfinite": "",
    "automations/?mode=disabled": "",
    "executions/": "automations.Execution",
    "executions/?ordering=created_at": "automations.Execution",
    "executions/?automation={automation}": "automations.Execution",
    "executions/?run={run}": "",
    "executions/?version={version}": "",
    "executions/?state=failed": "",
    "executions/?state=shadow": "",
    "executions/?created_after=2026-01-01T00:00:00Z": "",
    "executions/?created_before=2001-01-01T00:00:00Z": "",
    "executions/?automation={automation}&created_before=2001-01-01T00:00:00Z": "",
    "executions/?automation={automation}&state=failed": "",
    "deliveries/": "automations.Delivery",
    "deliveries/?state=failed": "",
    "deliveries/?state=held": "",
    "deliveries/?ordering=created_at": "automations.Delivery",
    "events/": "",
    "events/?type=run_status": "",
    "events/?type=alias_removed": "",
    "events/?project={project}": "",
    "events/?registry={registry}": "",
    "events/?after=now": "",
}


def main() -> None:
    arguments = _parser().parse_args()
    sizes = {name: getattr(arguments, name) for name in SMALL}
    rows: list[dict[str, Any]] = []
    for shape in arguments.shape:
        with tempfile.TemporaryDirectory() as folder, databases(shape, Path(folder)) as made:
            small, large = made("small"), made("large")
            small.ask(furnish, SMALL)
            large.ask(furnish, sizes)
            print(f"{shape}: ready, {large.ask(counted)} rows", file=sys.stderr)
            asked = [(path, deep) for path in LISTS for deep in (False, True) if LISTS[path] or not deep]
            for path, deep in asked:
                rows.append({"shape": shape, **_compare(small, large, path, deep, arguments)})
                print(_line(rows[-1]), file=sys.stderr)
    _print(rows, sizes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = {"runs": 100_000, "executions": 1_000_000, "versions": 100_000, "others": 10_000}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="requests of each kind (%(default)s)")
    parser.add_argument("--page", type=int, default=20, help="rows of a page (%(default)s)")
    parser.add_argument(
        "--shape", nargs="+", choices=["embedded", "production"], default=["embedded"], help="(%(default)s)"
    )
    return parser


# --- In the parent --------------------------------------------------------------------------------


def _compare(
    small: Apart, large: Apart, path: str, is_deep: bool, arguments: argparse.Namespace
) -> dict[str, Any]:
    model = LISTS[path] if is_deep else ""
    taken: dict[Apart, list[float]] = {small: [], large: []}
    for _round in range(arguments.rounds + 1):
        for each in (small, large):
            taken[each].append(each.ask(get, path, model, arguments.page)["seconds"])
    last = large.ask(get, path, model, arguments.page)
    times = {
        name: round(median(taken[each][1:]) * 1000, 2) for name, each in (("small", small), ("large", large))
    }
    return {"path": path, "deep": is_deep, **times, "queries": last["queries"], "rows": last["rows"]}


def _line(row: dict[str, Any]) -> str:
    name = f"{row['shape'][:4]} {row['path']}" + (" deep" if row["deep"] else "")
    return f"{name:64}{row['small']:8.1f}{row['large']:8.1f}{row['queries']:9}{row['rows']:6}"


def _print(rows: Sequence[dict[str, Any]], sizes: dict[str, int]) -> None:
    print(f"\n{'the slowest':66} small   large  queries  rows", file=sys.stderr)
    slowest = sorted(rows, key=lambda row: row["large"])[-SHOWN:]
    for row in slowest:
        print(_line(row), file=sys.stderr)
    report = {"bench": "lists", "load": load(), "cores": os.cpu_count(), "sizes": sizes}
    print(json.dumps({**report, "slowest": slowest[-1], "lists": rows}))


# --- In the process of a database -----------------------------------------------------------------

_here: dict[str, Any] = {}


def get(path: str, middle: str, page: int) -> dict[str, Any]:
    """Seconds of one request, and how many queries another one makes; `middle` names a model.

    Seconds of the processor where all is done in this process: a busy machine disturbs them least.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    url = f"/api/v1/{path.format(**_here['ids'])}"
    plain = path.startswith(("me/", "runs/{run}"))
    if not plain:
        url += f"{'&' if '?' in url else '?'}page_size={page}"
    if middle:
        url += f"&cursor={_cursor(path, middle)}"
    clock = time.perf_counter if connection.vendor == "postgresql" else time.process_time
    began = clock()
    answer = _here["client"].get(url)
    seconds = clock() - began
    assert answer.status_code == 200, (url, answer.content)
    with CaptureQueriesContext(connection) as captured:
        found = _here["client"].get(url).json()
    rows = 1 if path == "me/" else len(found if plain else found["results"])
    return {"seconds": seconds, "queries": len(captured), "rows": rows}


def _cursor(path: str, label: str) -> str:
    """As a list would write it in the middle of what the person sees."""
    from urllib.parse import parse_qs, urlsplit

    from django.apps import apps

    from runs.rest.paging import Cursor

    model = apps.get_model(label)
    (given,) = parse_qs(urlsplit(path).query).get("ordering", ["-id"])
    ordering = [given] if "id" in given else [given, "-id" if given.startswith("-") else "id"]
    ids = model._default_manager.order_by("pk").values_list("pk", flat=True)
    row = model._default_manager.filter(pk__gte=ids[int(ids.count() * 0.3)]).earliest("pk")
    values = [model._meta.get_field(name.lstrip("-")).value_to_string(row) for name in ordering]
    return Cursor(False, values).written()


def counted() -> int:
    from tests.api.house import rows

    return sum(rows().values())


# --- Filling --------------------------------------------------------------------------------------


def furnish(sizes: dict[str, int]) -> None:
    """One of everything for two teams, and many more of it: in portions, two thirds ours, a third theirs."""
    from django.test import Client

    from runs.services.people import create_key
    from tests import cast
    from tests.api import house
    from tests.bench.planting import analyse

    everybody = cast.assemble()
    ours = house.furnish(everybody.team, everybody.ada, "ours")
    theirs = house.furnish(everybody.otters, everybody.otto, "theirs")
    everybody.ada.is_staff = True  # sees the list of users
    everybody.ada.save()
    for _portion in range(PORTIONS):
        for whose, share in ((ours, 2 / 3), (theirs, 1 / 3)):
            _fill(whose, {name: int(size * share / PORTIONS) for name, size in sizes.items()})
    _row, key = create_key(everybody.ada, "bench")
    client = Client(headers={"Authorization": f"Bearer {key}"}, SERVER_NAME="127.0.0.1")
    ids = {field: getattr(ours, field).pk for field in type(ours).__dataclass_fields__}
    _here.update(client=client, ids=ids)
    analyse()


def _fill(whose: House, sizes: dict[str, int]) -> None:
    from automations.services import targets

    _fill_people(whose, sizes["others"])
    _fill_runs(whose, sizes["runs"])
    _fill_artifacts(whose, collections=sizes["others"], versions=sizes["versions"])
    _fill_rules(whose, sizes["others"])
    _fill_history(whose, sizes["executions"])
    for _request in range(60 // PORTIONS):
        targets.receive(whose.inbox, headers={}, body=b"{}")


def _copy(row: Model, count: int, **varied: str) -> int:
    from tests.bench.planting import copy

    return copy(row, count, varied)


def _fill_people(whose: House, count: int) -> None:
    """People, all of the team, and its projects."""
    member = whose.member
    before = _copy(member.user, count, username="'person-' || ({before} + i)", is_staff="FALSE")
    _copy(member, count, user_id=f"{before} + i")
    _copy(whose.project, count, name="'project-' || ({before} + i)")
    key = type(whose.key).objects.get(pk=whose.key.pk)
    _copy(key, min(count, 1000), name="'key-' || ({before} + i)", digest="'planted-' || ({before} + i)")


def _fill_runs(whose: House, count: int) -> None:
    from runs.models import MetricSummary
    from tests.bench.planting import earlier

    states = "CASE i % 5 WHEN 0 THEN 'failed' WHEN 1 THEN 'running' ELSE 'finished' END"
    second = timedelta(seconds=1)
    before = _copy(
        whose.run,
        count,
        run_id="'planted-' || ({before} + i)",
        name="'run-' || (i % 1000)",
        status=states,
        created_at=earlier("created_at", second),
    )
    _copy(MetricSummary.objects.get(run=whose.run), count, run_id=f"{before} + i")


def _fill_artifacts(whose: House, *, collections: int, versions: int) -> None:
    """Each tenth version is linked to the shelf."""
    from registry.models import CollectionTag, Membership, VersionTag
    from tests.bench.planting import earlier

    place = _copy(whose.collection, collections, name="'collection-' || ({before} + i)")
    _copy(whose.shelf, collections // 10, name="'shelf-' || ({before} + i)")
    before = _copy(
        whose.version,
        versions,
        home_id=f"{place} + 1 + i % {max(1, collections)}" if collections else "pattern.home_id",
        digest="'digest-' || ({before} + i)",
        size="i % 5000",
        run_id=f"CASE i % 1000 WHEN 0 THEN {whose.run.pk} END",
        created_at=earlier("created_at", timedelta(seconds=1)),
    )
    membership = Membership.objects.get(version=whose.version, collection=whose.collection)
    home = f"{place} + 1 + i % {max(1, collections)}"
    _copy(membership, versions, version_id=f"{before} + i", collection_id=home, index="i + 1")
    linked = versions // 10
    _copy(
        membership,
        linked,
        version_id=f"{before} + i",
        collection_id=str(whose.shelf.pk),
        index="{before} + i",
    )
    tag = VersionTag.objects.get(version=whose.version)
    _copy(tag, versions, version_id=f"{before} + i", name="CASE i % 20000 WHEN 1 THEN 'rare' ELSE 'blue' END")
    blue, _new = CollectionTag.objects.get_or_create(collection=whose.collection, name="blue")
    rare = "CASE i % 5000 WHEN 1 THEN 'rare' ELSE 'blue' END"
    _copy(blue, collections, collection_id=f"{place} + i", name=rare)


def _fill_rules(whose: House, count: int) -> None:
    from automations.models import Action

    before = _copy(whose.automation, count, name="'rule-' || ({before} + i)")
    _copy(Action.objects.get(automation=whose.automation), count, automation_id=f"{before} + i")
    _copy(whose.integration, min(count, 1000), name="'hook-' || ({before} + i)")
    _copy(whose.secret, min(count, 1000), name="'secret-' || ({before} + i)")
    _copy(
        whose.inbox, min(count, 1000), name="'inbox-' || ({before} + i)", token="'token-' || ({before} + i)"
    )
    registry = _copy(whose.registry, min(count, 1000), name="'registry-{before}-' || i")
    member = whose.registry.members.get()
    _copy(member, min(count, 1000), registry_id=f"{registry} + i")


def _fill_history(whose: House, count: int) -> None:
    """Executions with an event and a delivery each, every tenth with an attempt; spread over the runs."""
    from automations.models import Attempt, Feed
    from runs import clock
    from runs.models import Run
    from tests.bench.planting import earlier

    runs = Run.objects.filter(project=whose.project).count()
    first = Run.objects.filter(project=whose.project).latest("pk").pk - runs + 2
    run = f"{first} + i % {max(1, runs - 1)}"
    moment = {"created_at": earlier("created_at", timedelta(seconds=1))}
    feed = Feed.objects.get(organization=whose.event.organization_id)
    event = _copy(
        whose.event, count, origin="'planted:' || ({before} + i)", sequence=f"{feed.head} + i", run_id=run
    )
    Feed.objects.filter(pk=feed.pk).update(head=feed.head + count)
    states = "CASE i % 50 WHEN 0 THEN 'failed' ELSE 'finished' END"
    before = _copy(
        whose.execution,
        count,
        dedup_key="'planted:' || ({before} + i)",
        event_id=f"{event} + i",
        run_id=run,
        state=states,
        **moment,
    )
    delivery = _copy(
        whose.delivery,
        count,
        execution_id=f"{before} + i",
        webhook_id="'planted-' || ({before} + i)",
        state=states.replace("finished", "succeeded"),
        **moment,
    )
    attempt, _new = Attempt.objects.get_or_create(
        delivery=whose.delivery, number=1, defaults={"started_at": clock.now(), "duration": 0.1}
    )
    _copy(attempt, count // 10, delivery_id=f"{delivery} + i")


if __name__ == "__main__":
    main()
