"""How much a peer that keeps the rules can slow others down: a file for each kind, each with `rows(long)`.

Each kind measures an honest peer at the same time. `python -m scoreboard.budgets NAME ...` runs some kinds alone.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # scripted.wire makes bytes by hand
