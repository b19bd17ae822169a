"""Settings of the documentation site: ``sphinx-build -W --keep-going -b html docs docs/_build``.

Nothing is fetched, neither while building nor by a reader's browser: notebooks are shown as
committed, formulas are MathML, fonts and scripts come with the theme.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import posthoc_align  # noqa: E402  # after the path of the extensions is set

project = "posthoc_align"
copyright = "the posthoc_align developers, BSD-3-Clause"
version = release = posthoc_align.__version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",  # brings autosummary
    "myst_nb",
    "api_pages",
    "beside",
    "code_links",
    "gallery",
    "mathml",
]
exclude_patterns = ["_build", "_ext", "_static"]
templates_path = []

# One page a public name, written by _ext/api_pages.py: autosummary only makes the tables.
autosummary_generate = False
autodoc_typehints = "none"  # the sections of each docstring have them
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
nitpicky = True  # a reference in a docstring that leads nowhere fails the build
html_math_renderer = "mathml"

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "posthoc_align"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # else the theme logs an error on a first visit
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "posthoc_align"},
    "navbar_end": ["theme-switcher"],
    # wide tables take the place of the list of headings
    "secondary_sidebar_items": {"**": ["page-toc"], "coming_from": [], "gallery": []},
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
