"""Settings for all tests.

Property tests try half of Hypothesis's usual number of examples, or a part of that. With
``--hypothesis-profile=thorough``, as ``make thorough`` runs them, they try eight times as many.

A test with the mark ``each`` runs with many values, such as all requirements, as one test: pytest
takes longer for a test than these do.
"""

import gc

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]  # tests of our own plugin for pytest run pytest

# On a busy machine an example, or making one, may take any time.
USUAL = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", USUAL)
settings.register_profile("thorough", USUAL, max_examples=8 * USUAL.max_examples)
settings.register_profile("share", USUAL, max_examples=4 * USUAL.max_examples)  # for CI
settings.load_profile("usual")

YOUNG = 50_000
"""Objects after which the collector of garbage looks at the young ones: 700 are usual, and
hypothesis has the passes counted in Python. So many are some megabytes."""

SHOWN = 10
"""Values of one test whose failures are shown. With more, they have one cause."""


def pytest_collection_finish():
    """Let the collector of garbage leave alone what collection made, and look less often for more.

    What collection made stays until the end. Most of the rest is freed without a collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def pytest_generate_tests(metafunc):
    """Give a test with the mark ``each`` all of its values at once."""
    if mark := metafunc.definition.get_closest_marker("each"):
        name, values = mark.args
        metafunc.parametrize(name, [values], ids=["each"])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test with each of its values, and name those with which it fails."""
    mark = pyfuncitem.get_closest_marker("each")
    if mark is None:
        return None
    name, values = mark.args
    given = {each: pyfuncitem.funcargs[each] for each in pyfuncitem._fixtureinfo.argnames}
    failed = []
    for id_, value in values.items():
        try:
            pyfuncitem.obj(**{**given, name: value})
        except (Exception, pytest.fail.Exception) as error:
            error.add_note(f"with the {name} {id_}")
            failed.append(error)
    if failed:
        text = f"{len(failed)} of {len(values)} fail, of which some follow"
        raise BaseExceptionGroup(text, failed[:SHOWN])
    return True
