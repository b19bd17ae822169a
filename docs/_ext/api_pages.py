"""The reference: one page a public name, written from the package itself before each build.

Public are the names that the front door opens, what ``__all__`` of each room lists, and the few
named in :data:`BESIDE`. A new one has its page without being written down anywhere; a room that
no chapter names comes into the last one.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

import posthoc_align

CHAPTERS = {
    "Aligners": ("align", "align.recipe"),
    "Measures": ("metrics",),
    "Choosing and validating": ("model_selection",),
    "Heads": ("heads", "resampling"),
    "Comparing and reporting": ("comparison", "result", "layer_profile", "report", "plots"),
    "From text to embeddings": ("extract", "embedding_store", "store", "datasets"),
    "Large data": ("scale", "moments", "pair_moments"),
    "Into service": ("persist", "export", "encoders"),
    "Linear algebra": ("linalg",),
}
REST = "Further rooms"
BESIDE = {
    "align.recipe": ("FittedRecipe",),
    "comparison": ("default_aligners",),
    "moments": ("Moments", "LanguageMoments"),
    "pair_moments": ("PairMoments",),
    "persist": ("describe",),
    "result": ("Comparison", "Measure"),
}
"""What users meet as an attribute or an answer, in rooms that have no ``__all__``."""

WHOLE = ("linalg",)
"""Rooms without ``__all__`` of which docstrings elsewhere name so much that all is shown."""

BY_FILE = ("metrics",)
"""Rooms of which each file is a subject, with words of its own at its head."""

SHAPE = re.compile(r"shape \(.*\)")


def rooms() -> list[str]:
    """Every room with something public, in the order of the chapters."""
    packages = [
        found.name
        for found in pkgutil.iter_modules(posthoc_align.__path__)
        if found.ispkg and not found.name.startswith("_")
    ]
    homes = [path.split(".")[1] for path in posthoc_align._HOME.values()]
    known = [room for names in CHAPTERS.values() for room in names]
    there = {*packages, *homes, *BESIDE, *WHOLE, "store"}
    there = {room for room in there if names_in(room)}
    return [room for room in known if room in there] + sorted(there - set(known))


def module(room: str) -> ModuleType:
    """The room, opened."""
    return importlib.import_module(f"posthoc_align.{room}")


def names_in(room: str) -> list[str]:
    """What is public of a room: full names, one for each thing, under its first door."""
    opened = module(room)
    front = [name for name, home in posthoc_align._HOME.items() if home == opened.__name__]
    own = {*front, *getattr(opened, "__all__", ()), *BESIDE.get(room, ())}
    if room in WHOLE:
        own |= {
            name
            for name, thing in vars(opened).items()
            if not name.startswith("_") and getattr(thing, "__module__", "") == opened.__name__
        }
    found = []
    for name in sorted(own, key=lambda name: (not name[0].isupper(), name.lower())):
        thing = getattr(opened, name)
        if inspect.ismodule(thing):
            continue
        at_front = name in posthoc_align._HOME and getattr(posthoc_align, name) is thing
        found.append(f"posthoc_align.{name}" if at_front else f"{opened.__name__}.{name}")
    return found


@cache
def pages() -> dict[str, str]:
    """From the full name of everything public to the page it is on."""
    return {name: f"api/{name}" for room in rooms() for name in names_in(room)}


def _heading(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n"


def name_page(full: str) -> str:
    """The page of one name."""
    home, _, name = full.rpartition(".")
    thing: Any = getattr(importlib.import_module(home), name)
    kind = "class" if inspect.isclass(thing) else "function" if callable(thing) else "data"
    members = "   :members:\n   :inherited-members:\n" if kind == "class" else ""
    return f"{_heading(name)}\n.. currentmodule:: {home}\n\n.. auto{kind}:: {full}\n{members}"


def by_file(room: str) -> dict[str, list[str]]:
    """The names of a room by the file they are written in, for rooms where files are subjects."""
    found: dict[str, list[str]] = {}
    for name in names_in(room):
        home, _, short = name.rpartition(".")
        found.setdefault(getattr(importlib.import_module(home), short).__module__, []).append(name)
    return dict(sorted(found.items()))


def table(names: list[str]) -> str:
    """Names with the first sentence of each."""
    listed = "\n".join(f"   ~{name}" for name in names)
    return f".. currentmodule:: None\n\n.. autosummary::\n   :nosignatures:\n\n{listed}\n"


def chapter_page(title: str, chapter: list[str]) -> str:
    """The page of a chapter: what each of its rooms is, and a table of its names."""
    parts = [_heading(title)]
    for room in chapter:
        parts.append(_heading(f"posthoc_align.{room}", "-"))
        parts.append(f".. automodule:: posthoc_align.{room}\n")
        if room not in BY_FILE:
            parts.append(table(names_in(room)))
            continue
        for file, names in by_file(room).items():
            short = file.rpartition(".")[2].replace("_", " ")
            parts += [_heading(short.capitalize(), "~"), f".. automodule:: {file}\n", table(names)]
    hidden = "\n".join(f"   {name}" for room in chapter for name in names_in(room))
    return "\n".join([*parts, f".. toctree::\n   :hidden:\n\n{hidden}\n"])


def chapters() -> dict[str, list[str]]:
    """From the title of each chapter to its rooms."""
    there = rooms()
    known = {title: [r for r in names if r in there] for title, names in CHAPTERS.items()}
    listed = {room for names in known.values() for room in names}
    rest = [room for room in there if room not in listed]
    return {title: found for title, found in {**known, REST: rest}.items() if found}


def write(folder: Path) -> None:
    """Write all pages; those unchanged stay untouched, so that Sphinx does not build them anew."""
    texts = {f"{name}.rst": name_page(name) for name in pages()}
    files = []
    for title, chapter in chapters().items():
        files.append(title.lower().replace(" ", "_"))
        texts[f"{files[-1]}.rst"] = chapter_page(title, chapter)
    listed = "\n".join(f"   {name}" for name in files)
    texts["index.rst"] = (
        f"{_heading('Reference')}\n"
        "Everything public, from the docstrings. Names without a room before them are imported "
        "from the package itself: ``from posthoc_align import LinearMap``.\n\n"
        f".. toctree::\n   :maxdepth: 2\n\n{listed}\n"
    )
    folder.mkdir(exist_ok=True)
    for stale in {path.name for path in folder.glob("*.rst")} - set(texts):
        (folder / stale).unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def ours(_app: Sphinx, _what: str, _name: str, thing: Any, skip: bool, _options: Any) -> bool:
    """Whether a member is left out: what scikit-learn and Python add to every class is."""
    if isinstance(thing, property):
        thing = thing.fget
    thing = inspect.unwrap(getattr(thing, "__func__", thing)) if callable(thing) else thing
    return skip or not (getattr(thing, "__module__", None) or "").startswith("posthoc_align")


def escape(
    _app: Sphinx, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]
) -> None:
    """Keep ``(n_components_, n_features)`` from being read as a reference to n_components."""
    for number, line in enumerate(lines):
        lines[number] = SHAPE.sub(lambda found: re.sub(r"_(?=[,)])", r"\\_", found[0]), line)


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages when the settings are read, before Sphinx looks which pages there are."""

    def begin(app: Sphinx, _config: Config) -> None:
        write(Path(app.srcdir) / "api")

    app.connect("config-inited", begin)
    app.connect("autodoc-skip-member", ours)
    app.connect("autodoc-process-docstring", escape, priority=100)  # before numpydoc reads it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
