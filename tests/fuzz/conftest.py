"""The fuzzer's own files are a program, not a package: pytest must not import them for doctests."""

collect_ignore = ["mutations.py", "readers.py", "targets.py"]
