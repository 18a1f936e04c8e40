from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from automations import regex
from automations.events.base import EVENTS, ArtifactEventType, Config
from automations.forms import ConfigForm, PatternField
from automations.verdicts import Reason, Verdict


class OptionalAliasForm(ConfigForm):
    alias = PatternField(label=_("Alias regex"))


class AliasForm(ConfigForm):
    alias = PatternField(label=_("Alias regex"), required=True)


class TagForm(ConfigForm):
    tag = PatternField(label=_("Tag regex"), required=True)


class NameForm(ConfigForm):
    name = PatternField(label=_("Name regex"))


class PatternEventType(ArtifactEventType):
    """Base of the artifact events: one pattern, tested against the names that the event carries."""

    # The form's field, and the key of the event's data that it is tested against.
    field = ""
    tested = ""
    # Whether it happens to one version, or to the collection as a whole.
    of_version = True
    # What is waited for, with a pattern and without one.
    clause: ClassVar[str | Promise]
    clause_for_any: ClassVar[str | Promise]
    sentences = {
        "matches": _("“%(name)s” matches %(pattern)s on %(subject)s"),
        "happened": _("it happened to %(subject)s"),
        "differs": _("%(names)s does not match %(pattern)s"),
        "no_names": _("there is no alias that could match %(pattern)s"),
    }

    def sentence(self, config: Config) -> str:
        pattern = config[self.field]
        return str(self.clause if pattern else self.clause_for_any) % {"pattern": pattern}

    def decide(self, config: Config, facts: Mapping[str, Any]) -> Verdict:
        pattern = config[self.field]
        names = self.names(facts)
        if not pattern or any(regex.search(pattern, name) for name in names):
            return Verdict.yes()
        if not names:
            return Verdict.no("no_names", pattern=pattern)
        return Verdict.no("differs", names=", ".join(f"“{name}”" for name in names), pattern=pattern)

    def names(self, facts: Mapping[str, Any]) -> list[str]:
        """What the pattern is tested against."""
        found = facts[self.tested]
        return list(found) if isinstance(found, list) else [found]

    def describe(self, config: Config, facts: Mapping[str, Any], hit: int) -> Reason:
        subject = facts["artifact_version"] or facts["artifact_collection_name"]
        pattern = config[self.field]
        if not pattern:
            return Reason("happened", {"subject": subject})
        name = next(name for name in self.names(facts) if regex.search(pattern, name))
        data = {"name": name, "pattern": pattern, "subject": subject}
        return Reason("matches", {**data, "from": facts["previous_version"], "to": facts["artifact_version"]})


@EVENTS.register
class VersionAdded(PatternEventType):
    """A version becomes committed in a project's collection (R8): once, and not for known content."""

    key = "version_added"
    label = _("A new version is added to an artifact")
    clause = _("a new version with an alias that matches %(pattern)s is added to an artifact")
    clause_for_any = _("a new version is added to an artifact")
    config_form = OptionalAliasForm
    field, tested = "alias", "aliases"


@EVENTS.register
class VersionLinked(PatternEventType):
    """A version becomes a member of a registry's collection (R4).

    Linking a member again is no event. The alias filter is tested against the aliases after the link.
    """

    key = "version_linked"
    label = _("A new version is linked to a collection")
    clause = _("a version with an alias that matches %(pattern)s is linked to a collection")
    clause_for_any = _("a version is linked to a collection")
    config_form = OptionalAliasForm
    field, tested = "alias", "aliases"


@EVENTS.register
class VersionUnlinked(PatternEventType):
    """A version leaves a registry's collection; the alias filter sees the aliases it had there."""

    key = "version_unlinked"
    label = _("A version is unlinked from a collection")
    clause = _("a version with an alias that matches %(pattern)s is unlinked from a collection")
    clause_for_any = _("a version is unlinked from a collection")
    config_form = OptionalAliasForm
    field, tested = "alias", "aliases"


@EVENTS.register
class AliasAdded(PatternEventType):
    """An alias that matches is applied to any version of the collection (R5, R9, R11, R13).

    `latest` moving to the newest version counts (R10); a move is one event that carries both ends.
    """

    key = "alias_added"
    label = _("An artifact alias is added")
    clause = _("an alias that matches %(pattern)s is put on a version")
    clause_for_any = _("an alias is put on a version")
    config_form = AliasForm
    field = tested = "alias"


@EVENTS.register
class AliasRemoved(PatternEventType):
    """An alias is taken away; not when it merely moves."""

    key = "alias_removed"
    label = _("An artifact alias is removed")
    clause = _("an alias that matches %(pattern)s is taken off a version")
    clause_for_any = _("an alias is taken off a version")
    config_form = AliasForm
    field = tested = "alias"


@EVENTS.register
class TagAdded(PatternEventType):
    """A tag that matches is applied to a version (R12–R14), in every collection that holds it."""

    key = "tag_added"
    label = _("An artifact tag is added")
    clause = _("a version gets a tag that matches %(pattern)s")
    clause_for_any = _("a version gets a tag")
    config_form = TagForm
    field = tested = "tag"


@EVENTS.register
class TagRemoved(PatternEventType):
    key = "tag_removed"
    label = _("An artifact tag is removed")
    clause = _("a version loses a tag that matches %(pattern)s")
    clause_for_any = _("a version loses a tag")
    config_form = TagForm
    field = tested = "tag"


@EVENTS.register
class CollectionCreated(PatternEventType):
    key = "collection_created"
    label = _("A collection is created")
    clause = _("a collection is created whose name matches %(pattern)s")
    clause_for_any = _("a collection is created")
    config_form = NameForm
    of_version = False
    field, tested = "name", "artifact_collection_name"


@EVENTS.register
class CollectionTagAdded(PatternEventType):
    key = "collection_tag_added"
    label = _("A collection tag is added")
    clause = _("a collection gets a tag that matches %(pattern)s")
    clause_for_any = _("a collection gets a tag")
    config_form = TagForm
    of_version = False
    field = tested = "tag"


@EVENTS.register
class CollectionTagRemoved(PatternEventType):
    key = "collection_tag_removed"
    label = _("A collection tag is removed")
    clause = _("a collection loses a tag that matches %(pattern)s")
    clause_for_any = _("a collection loses a tag")
    config_form = TagForm
    of_version = False
    field = tested = "tag"
