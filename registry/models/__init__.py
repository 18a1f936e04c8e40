from registry.models.registries import Registry, RegistryMember, Visibility
from registry.models.collections import Alias, Collection, CollectionTag, Membership
from registry.models.versions import ArtifactFile, ArtifactVersion, VersionState, VersionTag
from registry.models.changes import ArtifactChange, ChangeKind

__all__ = [
    "Alias",
    "ArtifactChange",
    "ArtifactFile",
    "ArtifactVersion",
    "ChangeKind",
    "Collection",
    "CollectionTag",
    "Membership",
    "Registry",
    "RegistryMember",
    "VersionState",
    "VersionTag",
    "Visibility",
]
