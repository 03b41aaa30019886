"""Pages of the project and the blocks of code in them: what all tests of pages read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: other names of languages, as Markdown knows them
ALIASES = {"py": "python", "bash": "sh", "shell": "sh", "yml": "yaml"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Parameters
    ----------
    page : str
        Path of the page in the repository.
    line : int
        Of its first fence, from 1.
    language : str
        What follows the fence, or the argument of ``{code-block}``; empty if nothing does.
    text : str
        Without the fences and their indentation.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """For messages: ``docs/search.md, line 12``."""
        return f"{self.page}, line {self.line}"


def pages() -> list[str]:
    """Paths of all pages: the top, ``docs/`` without what the site generates, notebooks, examples, model cards."""
    patterns = ("*.md", "docs/*.md", "docs/notebooks/*.ipynb", "examples/**/*.md", "jettagger/models/*/*.md")
    return sorted({path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)})


def read(page: str) -> str:
    """The text of a page, by its path in the repository; of a notebook that of its Markdown cells."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if not page.endswith(".ipynb"):
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def blocks(page: str, language: str = "", holding: str = "") -> list[str]:
    """Texts of the blocks of a page, e.g. ``blocks("docs/search.md", "python")``.

    Parameters
    ----------
    page : str
    language : str
        Empty for all.
    holding : str
        What is in the blocks.
    """
    found = blocks_of(read(page), page)
    return [block.text for block in found if language in ("", block.language) and holding in block.text]


def blocks_of(text: str, page: str = "") -> list[Block]:
    """All blocks of code of a text; directives of Sphinx are none, what is inside of them is."""
    return _blocks(text.splitlines(), page, 0)


def _blocks(lines: list[str], page: str, above: int) -> list[Block]:
    found, at = [], 0
    while at < len(lines):
        start = re.match(r"^(\s*)(`{3,}|~{3,})\s*(.*?)\s*$", lines[at])
        if start is None or "`" in start[3]:
            at += 1
            continue
        indent, fence, info = start.groups()
        closing = re.compile(rf"^\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")
        end = next((place for place in range(at + 1, len(lines)) if closing.match(lines[place])), None)
        assert end is not None, f"{page}, line {above + at + 1}: this block has no end"
        inside = [line.removeprefix(indent) for line in lines[at + 1 : end]]
        directive = re.match(r"\{([\w:-]+)\}\s*(.*)", info)
        if directive is None or directive[1] in ("code-block", "code", "sourcecode"):
            language = directive[2] if directive else info.split(" ")[0]
            if directive:  # its options
                while inside and re.match(r":[\w-]+:", inside[0]):
                    inside = inside[1:]
            text = "".join(f"{line}\n" for line in inside)
            found.append(Block(page, above + at + 1, ALIASES.get(language, language), text))
        else:
            found += _blocks(inside, page, above + at + 1)
        at = end + 1
    return found
