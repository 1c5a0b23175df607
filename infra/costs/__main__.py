"""``python -m infra.costs``."""

from __future__ import annotations

import sys

from infra.costs.report import main

if __name__ == "__main__":
    sys.exit(main())
