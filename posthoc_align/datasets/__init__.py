"""Bundled data sets."""

from posthoc_align.datasets._parallel_topics import load_parallel_topics

__all__ = ["load_parallel_topics"]
