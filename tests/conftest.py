"""Makes the helpers of the test floors importable: ``from blunt.peer import ...``, ``from interop.dcmtk import ...``.

tests/ holds no packages (no __init__.py); blunt/ and interop/ are found as namespace packages from here.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
