"""What a peer that keeps the rules can take from the others: a file for each kind, each with `rows(long)`.

Each measures an honest peer beside it. `python -m scoreboard.budgets NAME ...` runs some kinds alone.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # scripted.wire: bytes by hand
