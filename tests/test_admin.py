from __future__ import annotations
import pytest
from django.contrib import admin
from tests.adminpages import Pages
from tests.cast import Cast
import time

def test_smoke(penguins: Cast):
    penguins.ada.is_staff = penguins.ada.is_superuser = True
    penguins.ada.save()
    p = Pages(penguins.ada)
    for model in admin.site._registry:
        t=time.time()
        r = p.list(model)
        print(model.__name__, r.status_code, round(time.time()-t,3))
        if admin.site._registry[model].has_add_permission(r.wsgi_request):
            print(p.form(p.add_url(model)).fields)
    assert 0
