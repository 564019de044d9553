"""Makes the helpers of the test floors importable: ``from blunt.peer import ...``, ``from interop.dcmtk import ...``.

tests/ holds no packages (no __init__.py); blunt/ and interop/ are found as namespace packages from here.

Hypothesis has two profiles: what `make test` runs, and `deep` for hours: HYPOTHESIS_PROFILE=deep.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

_ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, suppress_health_check=_ALLOWED)
settings.register_profile("deep", settings.get_profile("default"), max_examples=2000, stateful_step_count=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
