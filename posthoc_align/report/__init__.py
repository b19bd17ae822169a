"""One self-contained HTML page about a comparison: no script, no request to any network."""

from posthoc_align.report.page import render_html
from posthoc_align.report.verdict import reading, verdict
from posthoc_align.report.whole import Report

__all__ = ["Report", "reading", "render_html", "verdict"]
