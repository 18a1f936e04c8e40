from registry.models.changes import ArtifactChange, ChangeKind
from registry.models.collections import Alias, Collection, CollectionTag, Membership
from registry.models.registries import Registry, RegistryMember, Visibility
from registry.models.versions import ArtifactFile, ArtifactVersion, Use, VersionState, VersionTag

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
    "Use",
    "VersionState",
    "VersionTag",
    "Visibility",
]
