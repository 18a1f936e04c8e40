"""Places on the pages of artifacts to which the layer above adds (see `runs.places`)."""

from __future__ import annotations

from registry.models import Collection, Membership, Registry
from runs.places import Panel, Place, Tab

REGISTRY: Place[Registry, Panel] = Place()
COLLECTION: Place[Collection, Panel] = Place()
VERSION: Place[Membership, Panel] = Place()
REGISTRY_TABS: Place[Registry, Tab] = Place()
