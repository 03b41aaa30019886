"""The description of the package on an index: the README, whose links lead there from outside of the repository."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
#: blocks and words of code, which stay; targets in Markdown; those in HTML
TARGET = re.compile(
    r"```.*?```|`[^`\n]*`"
    r"|(?P<before>\]\(|(?:src|href)=\")(?P<target>[^\s()\"]+)(?P<after>[)\"])",
    flags=re.DOTALL,
)
PICTURES = (".png", ".svg", ".gif")


def revision() -> str:
    """The tag of the version; the branch `main` while there are changes that no version has."""
    number = re.search(r'__version__ = "(.+)"', (HERE / "jettagger" / "_version.py").read_text(encoding="utf-8"))
    changes = (HERE / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n## Unreleased\n")[2]
    if number is None or changes.partition("\n## ")[0].strip():
        return "main"
    return f"v{number[1]}"


def with_absolute_links(text: str) -> str:
    """Links and pictures of files of the repository, as addresses."""
    config = ConfigParser()
    config.read(HERE / "setup.cfg", encoding="utf-8")
    address, at = config["metadata"]["url"], revision()

    def absolute(match: re.Match[str]) -> str:
        before, target, after = match.group("before", "target", "after")
        if target is None or re.match(r"[a-z]+:", target):
            return match[0]
        path = "README.md" if target.startswith("#") else target.partition("#")[0]
        kind = "raw" if path.endswith(PICTURES) else "tree" if (HERE / path).is_dir() else "blob"
        return f"{before}{address}/{kind}/{at}/{path}{target[target.find('#') :] if '#' in target else ''}{after}"

    return TARGET.sub(absolute, text)


setup(long_description=with_absolute_links((HERE / "README.md").read_text(encoding="utf-8")))
