"""Links of Markdown pages that work on a forge, rewritten for the site.

A page links to others, to pictures and to source files by relative paths, as a forge shows them. In the site a link
to a page stays one, also where the page lies elsewhere, and any other file of the repository is linked at the address
of the project.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

#: what follows the text of a link, with the text if it is a path, or a span of code, in which nothing is a link
_LINK = re.compile(
    r"(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
    r"|(?P<path>\[[\w./-]+\.md)?\]\((?P<target>[^()\s]+)(?P<title>\s[^)]*)?\)",
    re.DOTALL,
)
_FENCE = re.compile(r"^ *(?P<fence>`{3,}|~{3,}|:{3,})")
_PICTURES = (".png", ".svg", ".gif", ".jpg")


def _parts(text: str) -> list[tuple[bool, str]]:
    """The text in turns of prose and fenced blocks: whether a part is prose, and its lines."""
    parts: list[tuple[bool, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if not fence and mark and mark["fence"][0] != ":":
            parts.append((True, "".join(lines)))
            lines, fence = [line], mark["fence"]
        elif fence and mark and mark["fence"].startswith(fence) and not line.strip().strip(fence[0]):
            parts.append((False, "".join([*lines, line])))
            lines, fence = [], ""
        else:
            lines.append(line)
    return [*parts, (not fence, "".join(lines))]


def site_links(text: str, source: str, place: str, *, root: Path, pages: Mapping[str, str], address: str) -> str:
    """A Markdown page with its relative links as the site needs them.

    Parameters
    ----------
    text : str
        The page.
    source : str
        Its path in the repository, to which its links are relative.
    place : str
        The path of the page of the site, relative to ``docs/``.
    root : Path
        The repository.
    pages : mapping of str
        Path in the repository -> path relative to ``docs/``, of each page of the site.
    address : str
        The address of the project.

    Returns
    -------
    str
    """
    folder = posixpath.dirname(source)

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or re.match(r"[a-z][a-z+.-]*:|#|/", target):
            return match[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        anchor = f"#{anchor}" if anchor else ""
        if path in pages:
            new = posixpath.relpath(pages[path], posixpath.dirname(place) or ".")
        elif path.endswith(_PICTURES) and (root / path).is_file():
            new = posixpath.relpath(path, posixpath.dirname(f"docs/{place}"))
        elif (root / path).exists():
            new = f"{address}/{'tree' if (root / path).is_dir() else 'blob'}/main/{path}"
        else:
            return match[0]  # which the site reports
        # a path as the text of a link becomes the title of the page
        text = "[" if match["path"] and path in pages else match["path"] or ""
        return f"{text}]({new}{anchor}{match['title'] or ''})"

    return "".join(_LINK.sub(link, part) if prose else part for prose, part in _parts(text))


def written(path: Path, text: str) -> None:
    """Write a generated page, unless it has this content: Sphinx then reads only what has changed."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        os.makedirs(path.parent, exist_ok=True)
        path.write_text(text, encoding="utf-8")
