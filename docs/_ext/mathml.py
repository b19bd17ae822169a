"""Formulas as MathML, which browsers draw themselves: no script, no font from elsewhere."""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
LINE_BREAK = re.compile(r"\\\\(?![a-zA-Z])")
SIZE = re.compile(r"\\[bB]ig+[lmr]?(?![a-zA-Z])")  # MathML stretches brackets by itself


def mathml(text: str, *, block: bool) -> str:
    """The formula as one ``<math>`` element.

    Two lines, or columns parted by ``&``, are set as LaTeX's ``align`` does.
    """
    text = SIZE.sub("", text.strip()).replace(r"\dots", r"\ldots")
    if (LINE_BREAK.search(text) or "&" in text) and r"\begin{" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    try:
        return latex2mathml.tex2mathml(text, as_block=block)
    except MathError as error:
        logger.warning("no MathML for the formula %r: %s", text, error)
        return f"<code>{html.escape(text)}</code>"


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula that stands in a line."""
    translator.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula that stands by itself, and may scroll where the page is narrow."""
    drawn = mathml(node.astext(), block=True)
    translator.body.append(f'<div class="formula">{drawn}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
