"""The picture of the README, made by running its example: ``python -m benchmarks.readme_picture``."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "roc.png"


def example(text: str) -> str:
    """The Python block of a document that writes the picture."""
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if PICTURE.name in block)
    return str(block)


def main() -> int:
    """Run the example in a folder of its own and keep its picture."""
    code = compile(example((ROOT / "README.md").read_text(encoding="utf-8")), "README.md", "exec")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("examples").symlink_to(ROOT / "examples")
        exec(code, {"__name__": "readme"})
        shutil.copyfile(PICTURE.name, PICTURE)
        os.chdir(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
