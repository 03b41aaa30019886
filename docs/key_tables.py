"""Write the tables of keys into the pages, from the models that check the files: python docs/key_tables.py

A table stands between ``<!-- keys: KIND PART ... -->`` and ``<!-- end of keys -->``: the kind of file of
``jettagger schema`` and the way from its top to the mapping.
"""

from __future__ import annotations

import re
from pathlib import Path

from jettagger.cli.schema import model_of
from jettagger.config.keys import key_table
from jettagger.config.models import model_at

_TABLE = re.compile(r"(<!-- keys: (?P<place>[\w -]+) -->\n).*?(<!-- end of keys -->)", flags=re.DOTALL)


def filled(text: str) -> str:
    """A page with its tables as the models have them."""

    def table(match: re.Match[str]) -> str:
        kind, *place = match["place"].split()
        model = model_at(model_of(kind), place)
        if model is None:
            raise ValueError(f"no keys at {match['place']!r}")
        return f"{match[1]}{key_table(model)}\n{match[3]}"

    return _TABLE.sub(table, text)


def main() -> None:
    """Rewrite the pages in this folder."""
    for page in sorted(Path(__file__).parent.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
