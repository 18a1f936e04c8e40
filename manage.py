#!/usr/bin/env python3
"""Django's command line, which on a bare machine first makes itself an environment.

This file must parse on any Python 3, so that an old one gets a sentence and not a SyntaxError.
"""

import os
import sys

OLDEST_PYTHON = (3, 11)


def main() -> None:
    if sys.version_info[:2] < OLDEST_PYTHON:
        sys.exit(
            "Tripline needs Python %d.%d or newer; this is %d.%d (%s). Start it with a newer one."
            % (*OLDEST_PYTHON, sys.version_info[0], sys.version_info[1], sys.executable)
        )
    if os.name != "posix":
        sys.exit("Tripline runs on Linux and macOS. On Windows, run it inside WSL.")
    from config import bootstrap

    bootstrap.ensure_environment(sys.argv[1:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
