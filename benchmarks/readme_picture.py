"""Pictures of the README and of its neighbours: ``python -m benchmarks.readme_picture``.

``docs/demo.png`` has two pictures of the demo side by side, the example of ``docs/start.md`` draws ``docs/roc.png``.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "start.md"
PICTURE = ROOT / "docs" / "roc.png"
DEMO = ROOT / "docs" / "demo.png"
#: pictures of the demo that are shown
SHOWN = ("scores.png", "search/limits.png")
#: height in pixels
HEIGHT = 480


def example(text: str) -> str:
    """The Python block of a document that writes the picture."""
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if PICTURE.name in block)
    return str(block)


def draw_example(folder: Path) -> Path:
    """Run the example in a folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path
        The picture.
    """
    code = compile(example(PAGE.read_text(encoding="utf-8")), PAGE.name, "exec")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("examples").symlink_to(ROOT / "examples")
        exec(code, {"__name__": "document"})
    finally:
        os.chdir(before)
    return folder / PICTURE.name


def beside(paths: list[Path], target: Path) -> None:
    """Write pictures side by side.

    Parameters
    ----------
    paths : list of Path
    target : Path
        PNG.
    """
    from PIL import Image

    pictures = [Image.open(path).convert("RGB") for path in paths]
    pictures = [item.resize((round(item.width * HEIGHT / item.height), HEIGHT), Image.LANCZOS) for item in pictures]
    space = HEIGHT // 15
    whole = Image.new("RGB", (sum(item.width + space for item in pictures) - space, HEIGHT), "white")
    left = 0
    for item in pictures:
        whole.paste(item, (left, 0))
        left += item.width + space
    whole.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> int:
    """Draw all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        status = runpy.run_path(str(ROOT / "examples" / "demo.py"))["main"](str(folder / "demo"))
        if status:
            return int(status)
        beside([folder / "demo" / shown for shown in SHOWN], DEMO)
        PICTURE.write_bytes(draw_example(folder).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
