"""The documentation site: it builds without a warning, leaves nothing out, asks no network."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import posthoc_align

ROOT = Path(__file__).resolve().parent.parent
BROUGHT = ("docs", "notebooks", "benchmarks", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
WRITTEN = ("_build", "_gallery", "api", "notebooks", "project", "__pycache__")

pytestmark = [pytest.mark.extras, pytest.mark.slow]
for package in ("sphinx", "myst_nb", "numpydoc", "pydata_sphinx_theme"):
    pytest.importorskip(package, reason='the site needs: pip install "posthoc-align[docs]"')


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the documentation of a checkout as CONTRIBUTING.md says."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    return subprocess.run(
        [*command, "docs", "docs/_build"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of all that the site is made of: the build writes into its sources."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in BROUGHT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*WRITTEN))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def site(checkout):
    """The built site; that of POSTHOC_ALIGN_SITE, where one was built already."""
    if built := os.environ.get("POSTHOC_ALIGN_SITE"):
        return Path(built)
    run = build(checkout)
    assert run.returncode == 0, run.stderr
    return checkout / "docs" / "_build"


def test_everything_public_has_a_page(site):
    """What the front door opens, and what every room says it has."""
    rooms = [
        importlib.import_module(f"posthoc_align.{found.name}")
        for found in pkgutil.iter_modules(posthoc_align.__path__)
        if found.ispkg and not found.name.startswith("_")
    ]
    public = {f"posthoc_align.{name}" for name in posthoc_align._HOME}
    for room in rooms:
        for name in getattr(room, "__all__", ()):
            front = f"posthoc_align.{name}"
            public.add(front if front in public else f"{room.__name__}.{name}")
    there = {path.stem for path in (site / "api").glob("*.html")}
    assert len(public) > 100
    assert public - there == set()


def test_a_page_shows_parameters_methods_and_an_example(site):
    page = (site / "api" / "posthoc_align.LSAR.html").read_text()
    for part in ("Parameters", "Attributes", "References", "Examples", "<math", "fit_moments"):
        assert part in page
    assert "set_output" not in page, "what scikit-learn adds to every class is left out"


def test_every_page_of_the_docs_and_every_notebook_is_in_the_contents(site):
    sources = [path.stem for path in (ROOT / "docs").glob("*.md")]
    notebooks = [f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")]
    for page in sources + notebooks:
        assert (site / f"{page}.html").is_file()
    linked = (site / "guides.html").read_text() + (site / "index.html").read_text()
    assert [page for page in sources if f'href="{page}.html"' not in linked] == []


def test_a_card_has_a_notebooks_question_picture_and_answer(site):
    page = (site / "gallery.html").read_text()
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        assert f'href="notebooks/{path.stem}.html"' in page
        assert f"_images/{path.stem}.png" in page
    assert page.count("notebook-card docutils") == len(notebooks)


def test_a_name_in_the_text_leads_to_its_page(site):
    guide = (site / "methods.html").read_text()
    assert re.search(r'href="api/posthoc_align\.LanguageCentering\.html[^>]*><code', guide)


def test_a_link_to_what_lies_beside_the_docs_leads_to_its_page(site):
    guide = (site / "methods.html").read_text()
    assert 'href="notebooks/04_no_parallel_data.html"' in guide
    assert "../notebooks" not in guide


def test_no_page_loads_anything_from_elsewhere(site):
    loaded = r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"((?:https?:)?//[^\"]+)"
    for page in site.rglob("*.html"):
        assert re.findall(loaded, page.read_text()) == [], page.name
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?((?:https?:)?//[^)]+)", sheet.read_text()) == [], sheet.name


def test_a_broken_reference_a_bad_formula_and_a_dead_link_fail_the_build(checkout, tmp_path):
    """The negative control: a small site that is wrong in three ways, each named."""
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns("notebooks", *WRITTEN))
    (folder / "notebooks").mkdir()
    for page in ("gallery", "methods", "tatoeba"):
        (folder / "docs" / f"{page}.md").write_text(f"# {page}\n")
    contents = "# All\n\n```{toctree}\n:glob:\n*\nproject/index\n```\n"
    (folder / "docs" / "index.md").write_text(contents)
    wrong = ":class:`NoSuchThing`, :math:`\\nothing`"
    (folder / "docs" / "wrong.md").write_text(
        f"# Wrong\n\n[nowhere](nowhere.md)\n\n```{{eval-rst}}\n{wrong}\n```\n"
    )
    conf = folder / "docs" / "conf.py"
    conf.write_text(conf.read_text() + 'exclude_patterns += ["api"]\n')
    run = build(folder)
    assert run.returncode != 0
    for told in ("nowhere.md", "NoSuchThing", r"\\nothing"):
        assert told in run.stderr


def chromium():
    """The driver of headless Chromium that the report's tests have."""
    path = Path(__file__).parent / "test_browser.py"
    spec = importlib.util.spec_from_file_location("browser_driver", path)
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    return driver


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_open_in_a_browser_legibly_and_ask_no_network(site, theme, tmp_path):
    driver = chromium()
    if driver.CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    browser = driver.Browser(tmp_path / "profile")
    try:
        for page in ("index", "gallery", "coming_from", "api/posthoc_align.CCAMap"):
            browser.open(site / f"{page}.html")
            browser.value(f"document.documentElement.dataset.theme = '{theme}'")
            said = [line for line in browser.errors() if "[PST]" not in line]  # the theme's notes
            assert said == [], page
            assert browser.requests() == [], page
            for width in (400, 1280):
                browser.screenshot(width)
                assert browser.value("document.documentElement.scrollWidth") <= width, page
            assert browser.value(CONTRAST) >= 4.5, page  # what WCAG asks of text
    finally:
        browser.close()


CONTRAST = """
(() => {
  const light = color => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
    const [r, g, b] = parts.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = getComputedStyle(document.querySelector('article p')).color;
  const ground = getComputedStyle(document.body).backgroundColor;
  const [low, high] = [light(words), light(ground)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
})()
"""
