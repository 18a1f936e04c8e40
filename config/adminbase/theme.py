"""The look of the admin pages: the only module that knows django-unfold.

Without "unfold" in `INSTALLED_APPS` the same pages run on Django's own admin.
"""

from __future__ import annotations

from django.apps import apps

# Whether its pages load htmx themselves.
THEME_HAS_HTMX = apps.is_installed("unfold")

if THEME_HAS_HTMX:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.forms import AdminPasswordChangeForm, UserCreationForm
    from unfold.widgets import (
        UnfoldAdminIntegerFieldWidget as NumberInput,
        UnfoldAdminPasswordWidget as PasswordInput,
        UnfoldAdminTextareaWidget as Textarea,
        UnfoldAdminTextInputWidget as TextInput,
    )
else:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.widgets import (
        AdminIntegerFieldWidget as NumberInput,
        AdminTextareaWidget as Textarea,
        AdminTextInputWidget as TextInput,
    )
    from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm as UserCreationForm
    from django.forms import PasswordInput

__all__ = [
    "THEME_HAS_HTMX",
    "AdminPasswordChangeForm",
    "ModelAdmin",
    "NumberInput",
    "PasswordInput",
    "TabularInline",
    "TextInput",
    "Textarea",
    "UserCreationForm",
]
