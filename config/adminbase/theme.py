"""The look of the admin pages: the only module that knows django-unfold.

Without "unfold" in `INSTALLED_APPS` the same pages run on Django's own admin.
"""

from __future__ import annotations

from django.apps import apps

if apps.is_installed("unfold"):
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
    "AdminPasswordChangeForm",
    "ModelAdmin",
    "NumberInput",
    "PasswordInput",
    "TabularInline",
    "TextInput",
    "Textarea",
    "UserCreationForm",
]
