"""``python -m posthoc_align`` is the command ``posthoc-align``."""

import sys

from posthoc_align.cli import main

if __name__ == "__main__":
    sys.exit(main())
