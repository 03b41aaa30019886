"""Docstrings in the reference: signatures, and which names in backticks are links."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.inspect import signature, stringify_signature


def _signature(
    app: Any, what: str, name: str, value: Any, options: Any, text: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Without annotations where the docstring has the types; without keys for models of files, which have tables."""
    from pydantic import BaseModel

    if isinstance(value, type) and issubclass(value, BaseModel):
        return "", None
    docstring = inspect.getdoc(value) or ""
    if text and re.search(r"^(Parameters|Returns)\n-+$", docstring, flags=re.MULTILINE):
        try:
            plain = signature(value, bound_method=what == "method")
        except (TypeError, ValueError):
            return None
        return stringify_signature(plain, show_annotation=False, show_return_annotation=False), None
    return None


#: code, or what plain text has and reStructuredText reads as markup: |eta|, float64[*shape]
_MARKS = re.compile(r"(?P<code>``.+?``|`[^`]+`)|\||(?<=[\[( ])\*(?=\w+[\],])")


def _docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text to be read by ``help``: its marks of mathematics are no markup."""
    if what == "data" and lines and (type(value).__doc__ or "").startswith(lines[0]):
        lines.clear()  # of a value without one, which is then that of its type
    for index, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "|", "+")):
            lines[index] = _MARKS.sub(lambda match: match["code"] or f"\\{match[0]}", line)


def _resolve(app: Any, env: Any, node: addnodes.pending_xref, content: nodes.Node) -> nodes.Node | None:
    """A name without its module is a link, where only one public name ends so."""
    if node.get("refdomain") != "py":
        return None
    target = str(node.get("reftarget", "")).lstrip(".")
    if not re.fullmatch(r"[A-Za-z_][\w.]*", target) or not (target[0].isupper() or "_" in target):
        return None
    domain = env.get_domain("py")
    target = app.config.jettagger_homes.get(target, target)
    matches = domain.find_obj(env, None, None, f".{target}", None, 1)
    homes = {(entry.docname, entry.node_id): (name, entry) for name, entry in matches if not entry.aliased}
    if len(homes) != 1:
        return None
    ((name, entry),) = homes.values()
    from sphinx.util.nodes import make_refnode

    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)


def _passed_over(app: Any, domain: Any, node: addnodes.pending_xref) -> bool | None:
    """Words in backticks that are no names of the package: parameters, keys, columns, values. They become code."""
    if node.get("refdomain") != "py":
        return None
    target = str(node.get("reftarget", ""))
    return True if target.partition(".")[0] != "jettagger" or _exists(target) else None


def _exists(name: str) -> bool:
    """Whether a dotted name is a module or an attribute: one that is no part of the reference is shown as code."""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        try:
            place: Any = importlib.import_module(".".join(words[:count]))
        except ImportError:
            continue
        for word in words[count:]:
            if isinstance(place, type) and word in getattr(place, "__annotations__", {}):
                return True
            if not hasattr(place, word):
                return False
            place = getattr(place, word)
        return True
    return False


def setup(app: Any) -> dict[str, bool]:
    """Connect; ``jettagger_homes`` has the name in the reference for the full one of its module."""
    app.add_config_value("jettagger_homes", {}, "env")
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _docstring, priority=100)
    app.connect("missing-reference", _resolve)
    app.connect("warn-missing-reference", _passed_over)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
