"""`python -m tfx_pipeline.cli` is `dmf`."""

from __future__ import annotations

import sys

from tfx_pipeline.cli import main

sys.exit(main())
