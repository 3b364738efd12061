"""Imported first, this lets a script of this folder run from a bare checkout, with torch and NumPy alone.

Of the library's other dependencies, networks and training import Pillow only. Scripts that read and write no pictures
do without it.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import MagicMock

sys.path.insert(0, str(Path(__file__).parents[1]))
if find_spec("PIL") is None:
    sys.modules["PIL"] = MagicMock()
