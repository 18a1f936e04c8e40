"""The server's side of the training that streams now."""

from __future__ import annotations

import os
import subprocess
import sys

from django.conf import settings
from django.urls import reverse

from automations.models import Inbox
from config.demo.making import Example
from config.embedded import Address
from runs.models import Project, Run
from runs.names import make_run_id

# Seconds in which it says goodbye; it needs a fraction of one.
_END_WITHIN = 3.0


class LiveTraining:
    """A process that streams while the server runs."""

    def __init__(self, example: Example, address: Address) -> None:
        self.project = Project.objects.select_related("team").get(pk=example.project)
        run_id = make_run_id()
        self.page = Run(project=self.project, run_id=run_id).page
        self.inbox_page = reverse("inbox", args=[Inbox.objects.get(team=self.project.team, name="inbox").pk])
        command = [sys.executable, "-m", "config.demo.training", str(self.project), run_id]
        environment = {
            **os.environ,
            "TRIPLINE_URL": address.url,
            "TRIPLINE_API_KEY": example.key,
            "no_proxy": address.host,
        }
        # A session of its own: Ctrl-C is for the server, which tells it.
        self._process = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self) -> None:
        """It ends its run and itself; one that does not is ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
