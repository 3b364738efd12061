"""The examples of property tests: the same every time, or many new ones with `--hypothesis-profile fuzz`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.register_profile("fuzz", max_examples=2000, deadline=None)

FUZZ_FACTOR = 20


def examples(count: int) -> int:
    """Return the number of examples of a property test: `count`, or 20 times as many with the profile fuzz."""
    return count * FUZZ_FACTOR if settings.get_current_profile_name() == "fuzz" else count
