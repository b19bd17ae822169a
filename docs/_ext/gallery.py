"""The gallery: a card for each notebook, with its question, its first picture and its answer.

The question is that of the list beside the notebooks, the others are read from the notebook as it
was committed; nothing of it is written down twice.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

ROW = re.compile(
    r"^\| \[(?P<title>[^]]+)\]\((?P<file>[^)]+)\) \| (?P<question>.+?) \|", re.MULTILINE
)


def questions(listed: str) -> list[dict[str, str]]:
    """Title, file and question of each notebook that the list beside the notebooks has."""
    return [found.groupdict() for found in ROW.finditer(listed)]


def answer(notebook: dict[str, Any]) -> str:
    """The paragraph that a notebook begins with "Answer.", in bold.

    Raises
    ------
    ValueError
        If there is none.
    """
    text = "\n\n".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"
    )
    found = re.search(r"\*\*Answer\.\*\*\s*(.+?)(?:\n\n|\Z)", text, re.DOTALL)
    if not found:
        raise ValueError("a notebook of the gallery has a paragraph that begins with **Answer.**")
    return " ".join(found[1].split())


def first_picture(notebook: dict[str, Any]) -> bytes:
    """The first picture among the outputs, as PNG."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if picture := output.get("data", {}).get("image/png"):
                return base64.b64decode("".join(picture))
    raise ValueError("a notebook of the gallery has a picture among its outputs")


def draw(notebooks: Path, pictures: Path) -> None:
    """Write the first picture of each notebook into a folder of pictures."""
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    for path in notebooks.glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        (pictures / f"{path.stem}.png").write_bytes(first_picture(notebook))


class NotebookCards(SphinxDirective):
    """A card for every notebook that the list beside the notebooks has, in its order."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Write the cards as Markdown, and have the page's own parser read them."""
        beside = Path(self.env.srcdir).parent / "notebooks"
        found: list[nodes.Node] = []
        for entry in questions((beside / "README.md").read_text(encoding="utf-8")):
            path = beside / entry["file"]
            self.env.note_dependency(str(path))
            reply = answer(json.loads(path.read_text(encoding="utf-8")))
            page = f"notebooks/{path.name}"
            card = nodes.container(classes=["notebook-card"])
            for part, text in {
                "notebook-picture": f"[![{entry['title']}](_gallery/{path.stem}.png)]({page})",
                "notebook-words": f"[**{entry['title']}**]({page})\n\n"
                f"*{entry['question']}*\n\n{reply}",
            }.items():
                box = nodes.container(classes=[part])
                self.state.nested_parse(StringList(text.split("\n"), str(path)), 0, box)
                card += box
            found.append(card)
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Draw the pictures when the settings are read; know the directive of the cards."""

    def begin(app: Sphinx, _config: Config) -> None:
        here = Path(app.srcdir)
        draw(here.parent / "notebooks", here / "_gallery")

    app.connect("config-inited", begin)
    app.add_directive("notebook-cards", NotebookCards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
