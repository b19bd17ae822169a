"""What lies beside ``docs`` in a checkout and belongs on the site: notebooks, changelog, results.

Before each build they are brought in, and links that are right in a checkout are turned to where
the site has what they lead to.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

PLACES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/RESULTS.md": "project/results.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "notebooks/README.md": "gallery.md",
}
"""From a file of the checkout to its page; ``docs/`` and the notebooks keep their names."""

LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")


def place(path: str) -> str | None:
    """Where the site has a file of the checkout; None where it has not."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("notebooks/") and path.endswith(".ipynb"):
        return path
    return PLACES.get(path)


def turn_links(text: str, source: str, page: str) -> str:
    """Markdown of the file `source` of the checkout, with the links it needs on `page`."""

    def turned(found: re.Match[str]) -> str:
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        there = place(wanted)
        return posixpath.relpath(there, posixpath.dirname(page) or ".") if there else found[1]

    return LINK.sub(turned, text)


def bring(checkout: Path, docs: Path) -> None:
    """Copy notebooks and the project's own pages into the folder of the documentation."""
    for folder in (docs / "notebooks", docs / "project"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for path in (checkout / "notebooks").glob("*.ipynb"):
        shutil.copy2(path, docs / "notebooks")  # with its time, by which Sphinx sees a change
    listed = []
    for source, page in PLACES.items():
        if page.startswith("project/"):
            text = turn_links((checkout / source).read_text(encoding="utf-8"), source, page)
            (docs / page).write_text(text, encoding="utf-8")
            listed.append(posixpath.basename(page).removesuffix(".md"))
    (docs / "project" / "index.rst").write_text(
        "Project\n=======\n\nWhat changed, how fast it is, and how to add to it.\n\n"
        ".. toctree::\n   :maxdepth: 1\n\n" + "".join(f"   {name}\n" for name in listed),
        encoding="utf-8",
    )


def lead_inside(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn the links of the pages that ``docs`` itself holds."""
    if not docname.startswith(("api/", "notebooks/", "project/")):
        source[0] = turn_links(source[0], f"docs/{docname}.md", f"{docname}.md")


def setup(app: Sphinx) -> dict[str, bool]:
    """Bring all in when the settings are read, before Sphinx looks which pages there are."""

    def begin(app: Sphinx, _config: Config) -> None:
        bring(Path(app.srcdir).parent, Path(app.srcdir))

    app.connect("config-inited", begin)
    app.connect("source-read", lead_inside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
