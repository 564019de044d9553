"""How many examples a property gets: the number of its test, fewer in `make quick`, more in the deep profile."""

from __future__ import annotations

import os

from hypothesis import settings

_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")


def examples(count: int) -> settings:
    """Decorate a property, of which the default profile draws this many examples."""
    of_profile: int = settings.get_profile(_PROFILE).max_examples
    return settings(max_examples={"quick": min, "deep": max}.get(_PROFILE, lambda asked, _: asked)(count, of_profile))
