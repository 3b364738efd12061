"""How property tests run: the same examples every time, or many fresh ones with `--hypothesis-profile fuzz`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.register_profile("fuzz", max_examples=2000, deadline=None)

FUZZ_FACTOR = 20


def examples(count: int) -> int:
    """The number of examples of a property test that sets its own: `count` in the suite, 20 times as many in a fuzz."""
    return count * FUZZ_FACTOR if settings.get_current_profile_name() == "fuzz" else count
