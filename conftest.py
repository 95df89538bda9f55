"""Settings for all tests.

Property tests try a part of Hypothesis's usual number of examples, or a multiple of it. With
``--hypothesis-profile=thorough``, as ``make thorough`` runs them, they try four times as many.
"""

from hypothesis import settings

pytest_plugins = ["pytester"]  # tests of our own plugin for pytest run pytest

settings.register_profile("thorough", max_examples=4 * settings().max_examples)
settings.register_profile("share", max_examples=3 * settings().max_examples)  # for CI
