from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

_django = get_wsgi_application()

# These need the apps loaded above.
from config.checks import refuse_nonsense  # noqa: E402
from config.middleware import utf8_only  # noqa: E402

application = utf8_only(_django)

refuse_nonsense()
