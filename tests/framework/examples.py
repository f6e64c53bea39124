"""How hypothesis draws its examples: the same ones in each run, and with no limit on the time that one takes.

A plugin (pyproject.toml), so that it holds wherever examples are drawn.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")
