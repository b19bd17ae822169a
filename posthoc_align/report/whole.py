"""The report: a comparison, its pictures and a profile of layers on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posthoc_align._arrays import Array
from posthoc_align.comparison import IDENTITY, compare, default_aligners
from posthoc_align.layer_profile import LayerProfile
from posthoc_align.report.page import render_html
from posthoc_align.report.verdict import verdict
from posthoc_align.result import Comparison


@dataclass(frozen=True)
class Report:
    """All that is known of an alignment, on one self-contained page.

    The table with intervals, pictures of the space and of retrieval before and after the best
    method, what each method costs, a profile of layers if there is one, a verdict in plain words
    and the settings to repeat it.

    Parameters
    ----------
    comparison : Comparison
        What :func:`posthoc_align.compare` found.
    layers : LayerProfile, optional
    command : str, optional
        The command line that repeats it, where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LanguageCentering
    >>> rng = np.random.default_rng(0)
    >>> concepts = rng.normal(size=(60, 8))
    >>> X = np.vstack([concepts, concepts + 3 * rng.normal(size=8)])
    >>> report = Report.of(X, language=["en"] * 60 + ["de"] * 60, pair_id=[*range(60)] * 2,
    ...                    aligners={"centring": LanguageCentering()})
    >>> report.verdict[0].split(":")[0]
    'centring is best on “weak”'
    """

    comparison: Comparison
    layers: LayerProfile | None = None
    command: str | None = None

    @classmethod
    def of(
        cls,
        X: Array,
        *,
        language: Any,
        pair_id: Any,
        pivot: Any = "en",
        label: Any = None,
        split: Any = None,
        aligners: Mapping[str, Any] | None = None,
        layers: Mapping[Any, Array] | Sequence[Array] | Array | None = None,
        test_size: float = 0.25,
        random_state: int = 0,
        progress: bool = False,
    ) -> Report:
        """Compare aligners, profile layers, and keep what the page needs.

        Parameters
        ----------
        X, language, pair_id, pivot, label, split, aligners, test_size, random_state, progress
            Parameters as in :func:`posthoc_align.compare`.
        layers : dict of layer -> array, sequence of arrays or three-dimensional array, optional
            The same rows in each layer of the encoder: see :meth:`LayerProfile.of`. Each is
            aligned by the best method of the comparison.

        Returns
        -------
        Report
        """
        rows: dict[str, Any] = {
            "language": language,
            "pair_id": pair_id,
            "pivot": pivot,
            "label": label,
            "split": split,
            "random_state": random_state,
        }
        comparison = compare(X, aligners=aligners, test_size=test_size, progress=progress, **rows)
        if layers is None:
            return cls(comparison)
        chosen = default_aligners(pivot) if aligners is None else aligners
        best = None if comparison.best == IDENTITY else chosen[comparison.best]
        return cls(comparison, LayerProfile.of(layers, aligner=best, **rows))

    @property
    def verdict(self) -> list[str]:
        """What happened, in plain sentences."""
        said = verdict(self.comparison.to_dict())
        if self.layers is not None:
            row, (last,) = self.layers.best, self.layers.rows[-1:]
            side = "after" if self.layers.aligned else "before"
            text = (
                f"Of {len(self.layers.rows)} layers, {row['layer']} is the one to align: chosen on "
                f"the dev pairs, it reaches {100 * row[side]['values']['weak']:.1f} % on the test "
                "pairs"
            )
            if last is not row:
                text += f", the last layer {100 * last[side]['values']['weak']:.1f} %"
            said.append(text + ".")
        return said

    def figures(self) -> tuple[dict[str, Any], list[str]]:
        """Draw all pictures.

        Time about 15 seconds, most of it for t-SNE.

        Returns
        -------
        figures : dict of str to matplotlib.figure.Figure
        notes : list of str
            Which pictures could not be drawn, and why.
        """
        from posthoc_align import plots

        found, space = self.comparison, self.comparison.space
        titles = ("before", f"after {found.best}")
        language, pivot = space["language"], found.settings["pivot"]
        rows = {row["method"]: row for row in found.rows}
        best = rows[found.best]
        spaces = (space["before"], space["after"])

        def in_plane(projection: str) -> Any:
            return plots.SpaceDisplay.from_spaces(
                *spaces,
                language=language,
                label=space.get("label"),
                pivot=pivot,
                projection=projection,
                titles=titles,
            )

        makers = {
            "retrieval": lambda: plots.RetrievalDisplay(
                rows[IDENTITY]["per_language"]["weak"],
                best["per_language"]["weak"],
                intervals=best.get("per_language_intervals", {}).get("weak"),
                titles=titles,
            ).plot(),
            "pairs": lambda: plots.LanguagePairDisplay.from_spaces(
                *spaces, language=language, pair_id=space.get("pair_id"), titles=titles
            ),
            "pca": lambda: in_plane("pca"),
            "tsne": lambda: in_plane("tsne"),
            "hubness": lambda: plots.HubnessDisplay.from_spaces(
                *spaces,
                language=language,
                pivot=pivot,
                k=min(10, int((language == pivot).sum())),
                titles=titles,
            ),
            "pareto": lambda: plots.ParetoDisplay.from_comparison(found),
        }
        if self.layers is not None:
            profile = self.layers
            makers["layers"] = lambda: plots.LayerProfileDisplay(profile).plot()
        figures, notes = {}, []
        for name, make in makers.items():
            try:
                figures[name] = make().figure_
            except ValueError as error:
                notes.append(f"no picture “{name}”: {error}")
        return figures, notes

    def to_html(self, path: str | Path) -> None:
        """Write the page; it needs no network and runs no script.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        ImportError
            If Matplotlib or Jinja2 is not installed; before anything is drawn.
        OSError
            If there is no such folder, or the path is one; before anything is drawn.
        """
        require_page(path)
        result = self.comparison.to_dict()
        figures, notes = self.figures()
        result["warnings"] = [*result["warnings"], *notes]
        result["verdict"] = self.verdict
        if self.layers is not None:
            result["warnings"] += self.layers.warnings
            settings = self.layers.settings
            result["settings"] = {**result["settings"], "layers": settings}
        if self.command:
            result["settings"] = {**result["settings"], "command": self.command}
        Path(path).write_text(render_html(result, figures), encoding="utf-8")


def require_page(path: str | Path) -> None:
    """Raise, before long work, unless a page can be drawn and written to the path.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    ImportError
        If Matplotlib or Jinja2 is not installed.
    OSError
        If there is no such folder, or the path is one.
    """
    for package, name in (("matplotlib", "Matplotlib"), ("jinja2", "Jinja2")):
        if find_spec(package) is None:
            raise ImportError(f'The HTML page needs {name}: pip install "posthoc-align[plots]"')
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the file of the page in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {path.parent} to write {path.name} to (looked in {Path.cwd()}): "
            "create it first."
        )
