"""The helpers of these tests, ``kernel_*.py``, lie beside them; importlib mode sees none."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
