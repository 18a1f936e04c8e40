"""What all admin pages share."""

from config.adminbase.filters import DeletedFilter, VisibleFilter
from config.adminbase.forms import JSONField, ServiceForm, adopt, refusals
from config.adminbase.inlines import ReadOnlyInline, ServiceFormSet, ServiceInline
from config.adminbase.pages import ReadOnlyAdmin, ScopedAdmin, actor, follow, team_roles
from config.adminbase.theme import (
    THEME_HAS_HTMX,
    AdminPasswordChangeForm,
    NumberInput,
    PasswordInput,
    TextInput,
    UserCreationForm,
)

__all__ = [
    "THEME_HAS_HTMX",
    "AdminPasswordChangeForm",
    "DeletedFilter",
    "JSONField",
    "NumberInput",
    "PasswordInput",
    "ReadOnlyAdmin",
    "ReadOnlyInline",
    "ScopedAdmin",
    "ServiceForm",
    "ServiceFormSet",
    "ServiceInline",
    "TextInput",
    "UserCreationForm",
    "VisibleFilter",
    "actor",
    "adopt",
    "follow",
    "refusals",
    "team_roles",
]
