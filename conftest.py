"""Settings for all tests.

Property tests try a part of Hypothesis's usual number of examples, or a multiple of it. With
``--hypothesis-profile=thorough``, as ``make thorough`` runs them, they try four times as many.
"""

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]  # tests of our own plugin for pytest run pytest

# On a busy machine an example, or making one, may take any time.
USUAL = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", USUAL)
settings.register_profile("thorough", USUAL, max_examples=4 * USUAL.max_examples)
settings.register_profile("share", USUAL, max_examples=3 * USUAL.max_examples)  # for CI
settings.load_profile("usual")
