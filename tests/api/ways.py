"""Where a page or the admin leads to what a row of the table says of REST."""

from __future__ import annotations

from automations.models import Automation, Delivery, Execution, Inbox, Integration, Secret
from registry.models import (
    Alias,
    ArtifactVersion,
    Collection,
    CollectionTag,
    Membership,
    Registry,
    VersionTag,
)
from runs.models import ApiKey, Project, Run, Team
from tests.api.doors import Act, Delete, Door, Look, Save, See, Send

# By verb and path, and where several rows have these, a word of the body.
WAYS: dict[str, tuple[Door, ...]] = {
    # who, and in which team
    "POST keys/ with mine": (
        Send("/profile/", {"name": "mine"}),
        Save(ApiKey, fields={"name": "mine"}),
    ),
    "POST keys/ with {team}": (
        Send("/teams/penguins/", {"name": "ci"}),
        Save(ApiKey, fields={"name": "ci", "team": "{team}"}),
    ),
    "GET keys/{key}/": (Look(ApiKey, "key"),),
    "DELETE keys/{key}/": (
        Delete(ApiKey, "key"),
        Send("/teams/penguins/keys/{key}/revoke/"),
    ),
    "GET teams/{team}/": (
        See("/teams/penguins/"),
        See("/penguins/"),
        Look(Team, "team"),
    ),
    "POST teams/": (Save(Team, fields={"name": "new"}),),
    "PATCH teams/{team}/": (Save(Team, "team", {"name": "new"}),),
    "POST teams/{team}/members/": (
        Send("/teams/penguins/members/", {"username": "nina", "role": "admin"}),
        Save(Team, "team", {"username": "nina", "role": "admin"}, inline="members"),
    ),
    "PATCH teams/{team}/members/{member}/": (
        Send("/teams/penguins/members/{member}/", {"role": "viewer"}),
        Save(Team, "team", {"members-1-role": "viewer"}),
    ),
    "DELETE teams/{team}/members/{member}/": (
        Send("/teams/penguins/members/{member}/remove/"),
        Save(Team, "team", {"members-1-DELETE": "on"}),
    ),
    # projects and runs
    "GET projects/{project}/": (
        See("/penguins/penguin-project/"),
        See("/penguins/penguin-project/automations/"),
        Look(Project, "project"),
    ),
    "POST projects/": (Save(Project, fields={"team": "{team}", "name": "new"}),),
    "PATCH projects/{project}/": (Save(Project, "project", {"description": "new"}),),
    "GET runs/{run}/": (
        See("/penguins/penguin-project/runs/{run_id}/"),
        Look(Run, "run"),
    ),
    "PATCH runs/{run}/": (
        Save(Run, "run", {"status": "failed"}),
        Act(Run, "mark_killed", "run"),
    ),
    "DELETE runs/{run}/": (
        Send("/penguins/penguin-project/delete/", {"run": "{run_id}"}),
        Delete(Run, "run"),
        Act(Run, "delete_selected", "run"),
    ),
    "POST runs/{run}/restore/": (
        Send("/penguins/penguin-project/deleted/", {"run": "{deleted_run_id}"}),
        Act(Run, "restore", "deleted_run", {"deleted": "yes"}),
    ),
    # registries
    "GET registries/{registry}/": (
        See("/registries/penguin-registry/"),
        See("/registries/penguin-registry/automations/"),
        Look(Registry, "registry"),
    ),
    "POST registries/": (Save(Registry, fields={"name": "new", "organization": "{organization}"}),),
    "PATCH registries/{registry}/": (
        Save(Registry, "registry", {"description": "new"}),
        Save(Registry, "registry", {"protected_aliases": "[]"}),
    ),
    "POST registries/{registry}/members/": (
        Save(Registry, "registry", {"username": "nina", "role": "member"}, inline="members"),
    ),
    "PATCH registries/{registry}/members/{regular}/": (
        Save(Registry, "registry", {"members-1-role": "admin"}),
    ),
    "DELETE registries/{registry}/members/{regular}/": (
        Save(Registry, "registry", {"members-1-DELETE": "on"}),
    ),
    # open to the organization: seen by all of its teams, written by its own members
    "GET registries/{open}/": (
        See("/registries/open/"),
        Look(Registry, "open"),
    ),
    "PATCH registries/{open}/": (Save(Registry, "open", {"description": "new"}),),
    "POST collections/ with {open}": (
        Save(Collection, fields={"name": "new", "type": "model", "registry": "{open}"}),
    ),
    # artifacts
    "GET collections/{collection}/": (
        See("/penguins/penguin-project/collections/penguin-models/"),
        See("/artifacts/{collection}/"),
        Look(Collection, "collection"),
    ),
    "POST collections/ with {project}": (
        Save(Collection, fields={"name": "new", "type": "dataset", "project": "{project}"}),
    ),
    "POST collections/ with {registry}": (
        Save(Collection, fields={"name": "new", "type": "model", "registry": "{registry}"}),
    ),
    "PATCH collections/{collection}/": (Save(Collection, "collection", {"description": "new"}),),
    "DELETE collections/{collection}/": (
        Delete(Collection, "collection"),
        Act(Collection, "delete_selected", "collection"),
    ),
    "PUT collections/{collection}/tags/new/": (
        Save(Collection, "collection", {"name": "new"}, inline="tags"),
        Save(CollectionTag, fields={"collection": "{collection}", "name": "new"}),
    ),
    "DELETE collections/{collection}/tags/old/": (
        Save(Collection, "collection", {"tags-0-DELETE": "on"}),
        Delete(CollectionTag, "old_tag"),
        Act(CollectionTag, "delete_selected", "old_tag"),
    ),
    "PUT collections/{collection}/aliases/new/": (
        Save(Collection, "collection", {"name": "new", "number": 0}, inline="aliases"),
        Save(Alias, fields={"collection": "{collection}", "name": "new", "number": 0}),
    ),
    "PUT collections/{shelf}/aliases/new/": (
        Save(Collection, "shelf", {"name": "new", "number": 0}, inline="aliases"),
        Save(Alias, fields={"collection": "{shelf}", "name": "new", "number": 0}),
        Save(Alias, "staging", {"number": 1}),
    ),
    "PUT collections/{shelf}/aliases/champion/": (
        Save(Alias, "champion", {"number": 1}),
        Save(Collection, "shelf", {"aliases-0-number": 1}),
    ),
    "DELETE collections/{shelf}/aliases/champion/": (
        Delete(Alias, "champion"),
        Act(Alias, "delete_selected", "champion"),
        Save(Collection, "shelf", {"aliases-0-DELETE": "on"}),
    ),
    "POST collections/{second_shelf}/links/": (
        Save(Membership, fields={"collection": "{second_shelf}", "version": "{version}"}),
    ),
    # They would take the protected alias away with them.
    "DELETE collections/{shelf}/links/{version}/": (
        Delete(Membership, "linked"),
        Act(Membership, "delete_selected", "linked"),
    ),
    "DELETE collections/{shelf}/": (
        Delete(Collection, "shelf"),
        Act(Collection, "delete_selected", "shelf"),
    ),
    "GET collections/{shelf}/": (
        See("/registries/penguin-registry/penguin-shelf/"),
        See("/artifacts/{shelf}/champion/"),
        Look(Collection, "shelf"),
    ),
    "GET versions/{version}/": (Look(ArtifactVersion, "version"),),
    "PUT versions/{version}/tags/new/": (
        Save(ArtifactVersion, "version", {"name": "new"}, inline="tags"),
        Save(VersionTag, fields={"version": "{version}", "name": "new"}),
    ),
    "DELETE versions/{version}/tags/penguin-tag/": (
        Save(ArtifactVersion, "version", {"tags-0-DELETE": "on"}),
        Delete(VersionTag, "version_tag"),
    ),
    # what is sent, and where to
    "GET secrets/{secret}/": (Look(Secret, "secret"),),
    "POST secrets/": (Save(Secret, fields={"team": "{team}", "name": "new", "value": "v"}),),
    "PATCH secrets/{secret}/": (Save(Secret, "secret", {"value": "new"}),),
    "DELETE secrets/{spare}/": (Delete(Secret, "spare"),),
    "GET integrations/{integration}/": (Look(Integration, "integration"),),
    "POST integrations/": (
        Save(
            Integration,
            fields={"team": "{team}", "type": "webhook", "name": "new", "url": "https://hooks.example.com/"},
        ),
    ),
    "PATCH integrations/{integration}/": (Save(Integration, "integration", {"timeout": 7}),),
    "POST integrations/{integration}/disable/": (Act(Integration, "disable", "integration"),),
    "DELETE integrations/{unused}/": (Delete(Integration, "unused"),),
    "GET inboxes/{inbox}/": (
        See("/inboxes/{inbox}/"),
        Look(Inbox, "inbox"),
    ),
    "POST inboxes/": (
        Send("/inboxes/", {"team": "{team}", "name": "new"}),
        Save(Inbox, fields={"team": "{team}", "name": "new"}),
    ),
    "PATCH inboxes/{inbox}/": (Save(Inbox, "inbox", {"name": "new"}),),
    "DELETE inboxes/{inbox}/": (Delete(Inbox, "inbox"),),
    # rules and what came of them
    "GET automations/{automation}/": (
        See("/automations/{automation}/"),
        Look(Automation, "automation"),
    ),
    "PATCH automations/{automation}/": (
        Send("/automations/{automation}/mode/", {"mode": "disabled"}),
        Save(Automation, "automation", {"description": "new"}),
        Act(Automation, "disable", "automation"),
    ),
    "DELETE automations/{automation}/": (
        Delete(Automation, "automation"),
        Act(Automation, "delete_selected", "automation"),
    ),
    "POST automations/{automation}/test/ with null": (
        Send("/automations/{automation}/test/"),
        Act(Automation, "fire_as_test", "automation"),
    ),
    "PATCH automations/{team_rule}/": (
        Send("/automations/{team_rule}/mode/", {"mode": "disabled"}),
        Act(Automation, "disable", "team_rule"),
        Save(Automation, "team_rule", {"description": "new"}),
    ),
    "POST automations/{team_rule}/test/": (
        Send("/automations/{team_rule}/test/"),
        Act(Automation, "fire_as_test", "team_rule"),
    ),
    "DELETE automations/{team_rule}/": (Delete(Automation, "team_rule"),),
    "PATCH automations/{collection_rule}/": (
        Send("/automations/{collection_rule}/mode/", {"mode": "disabled"}),
        Act(Automation, "disable", "collection_rule"),
        Save(Automation, "collection_rule", {"description": "new"}),
    ),
    "POST automations/{collection_rule}/test/": (
        Send("/automations/{collection_rule}/test/"),
        Act(Automation, "fire_as_test", "collection_rule"),
    ),
    "DELETE automations/{collection_rule}/": (Delete(Automation, "collection_rule"),),
    "PATCH automations/{shelf_rule}/": (
        Send("/automations/{shelf_rule}/mode/", {"mode": "disabled"}),
        Act(Automation, "disable", "shelf_rule"),
        Save(Automation, "shelf_rule", {"description": "new"}),
    ),
    "POST automations/{shelf_rule}/test/": (
        Send("/automations/{shelf_rule}/test/"),
        Act(Automation, "fire_as_test", "shelf_rule"),
    ),
    "DELETE automations/{shelf_rule}/": (Delete(Automation, "shelf_rule"),),
    "PATCH automations/{registry_rule}/": (
        Send("/automations/{registry_rule}/mode/", {"mode": "disabled"}),
        Act(Automation, "disable", "registry_rule"),
        Save(Automation, "registry_rule", {"description": "new"}),
    ),
    "POST automations/{registry_rule}/test/": (
        Send("/automations/{registry_rule}/test/"),
        Act(Automation, "fire_as_test", "registry_rule"),
    ),
    "DELETE automations/{registry_rule}/": (Delete(Automation, "registry_rule"),),
    "PATCH automations/{organization_rule}/": (
        Send("/automations/{organization_rule}/mode/", {"mode": "disabled"}),
        Act(Automation, "disable", "organization_rule"),
        Save(Automation, "organization_rule", {"description": "new"}),
    ),
    "POST automations/{organization_rule}/test/": (
        Send("/automations/{organization_rule}/test/"),
        Act(Automation, "fire_as_test", "organization_rule"),
    ),
    "DELETE automations/{organization_rule}/": (Delete(Automation, "organization_rule"),),
    "GET executions/{execution}/": (
        See("/executions/{execution}/"),
        Look(Execution, "execution"),
    ),
    "POST executions/{execution}/redeliver/": (
        Send("/executions/{execution}/redeliver/"),
        Act(Execution, "redeliver", "execution"),
        Act(Delivery, "redeliver", "delivery"),
    ),
    "GET executions/{registry_execution}/": (
        See("/executions/{registry_execution}/"),
        Look(Execution, "registry_execution"),
    ),
    "POST executions/{registry_execution}/redeliver/": (
        Send("/executions/{registry_execution}/redeliver/"),
        Act(Execution, "redeliver", "registry_execution"),
        Act(Delivery, "redeliver", "registry_delivery"),
    ),
    "GET deliveries/{delivery}/": (Look(Delivery, "delivery"),),
}
