"""The commands of ``posthoc-align``, one file a command; :mod:`posthoc_align.cli` is their entry.

Each file has ``add(commands)``, which declares a command and its options, and a function that runs
it on parsed arguments. Standard output carries the result; notes, progress and errors go to
standard error.
"""
