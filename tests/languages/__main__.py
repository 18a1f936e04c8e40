"""`python -m tests.languages`: bring the catalog up to the code, compile it, say what is missing."""

from __future__ import annotations

import sys

from tests.languages import catalog


def main() -> int:
    catalog.PO.write_bytes(catalog.renewed())
    catalog.MO.write_bytes(catalog.compiled())
    there = catalog.stored()
    missing = [text for (_context, text, _plural), found in there.items() if not all(catalog.texts(found))]
    for text in missing:
        print(repr(text))
    print(f"{len(there)} messages, {len(missing)} without a translation")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
