"""``python -m rope_compat`` is ``rope-compat``."""

from __future__ import annotations

import sys

from rope_compat._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
