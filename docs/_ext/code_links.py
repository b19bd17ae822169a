"""Names in the text lead to their pages.

An inline code span that is a public name, or a call of one, becomes a link; so does a cross
reference that leaves out where the name lives.
"""

from __future__ import annotations

import re
from typing import Any

from api_pages import pages
from docutils import nodes
from sphinx.addnodes import desc_signature
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

NAMED = re.compile(r"(?:posthoc_align\.)?([A-Za-z_][\w.]*)(?:\(.*)?$", re.DOTALL)


def _by_short_name() -> dict[str, str]:
    """From a name, as people write it, to the name it is documented under."""
    found: dict[str, str] = {}
    for full in pages():
        parts = full.split(".")
        for start in range(1, len(parts)):
            found.setdefault(".".join(parts[start:]), full)
    return found


def link_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn the code spans of a page that name something public into links."""
    names = _by_short_name()
    for span in list(doctree.findall(nodes.literal)):
        inside = span.parent
        while inside is not None and not isinstance(
            inside, (nodes.reference, desc_signature, nodes.title)
        ):
            inside = inside.parent
        match = NAMED.match(span.astext())
        full = names.get(match.group(1)) if match else None
        if inside is not None or full is None or pages()[full] == docname:
            continue
        link = make_refnode(app.builder, docname, pages()[full], full, span.deepcopy(), title=full)
        span.replace_self(link)


def find_reference(
    app: Sphinx, env: BuildEnvironment, node: Any, content: nodes.Element
) -> nodes.Node | None:
    """Resolve ``:class:`LSAR``` and ``:meth:`LSAR.fit``` from wherever they are written."""
    if node.get("refdomain") != "py":
        return None
    objects, names = env.domains["py"].objects, _by_short_name()
    parts = node["reftarget"].lstrip("~.").split(".")
    wanted = [f"{node.get('py:class')}.{'.'.join(parts)}"]
    for start in range(len(parts)):
        owner = ".".join(parts[start:-1])
        wanted += [names.get(".".join(parts[start:]), ""), f"{names.get(owner)}.{parts[-1]}"]
    for full in wanted:
        if full in objects:
            entry = objects[full]
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, content, full
            )
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("doctree-resolved", link_code)
    app.connect("missing-reference", find_reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
