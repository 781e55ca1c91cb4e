"""What every test can rely on: fixed examples, and a process that earlier tests left as they found it."""

import os
import signal

# One thread a process, before numpy and torch start their own: tests run beside one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# A shell lets what it starts in the background ignore SIGINT, nohup lets it ignore SIGHUP, and what that starts too.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# A slow machine is no fault of a property, and examples of earlier sessions would make sessions differ.
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fixed", derandomize=True, max_examples=25, **_ALWAYS)
settings.register_profile("random", max_examples=500, print_blob=True, **_ALWAYS)
settings.load_profile("fixed")


def pytest_configure(config):
    """Where workers run the tests, spare the process that starts them the import of torch, over a second."""
    if not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("tests.as_found")


def pytest_collection_modifyitems(items):
    """Put the tests that take longest first, so that no worker is left with them in the end."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


def pytest_terminal_summary(terminalreporter):
    """Print what passed tests have to tell; workers have no terminal of their own."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == "told":
                terminalreporter.write_line(text)


@pytest.fixture
def tell(record_property):
    """Print a line after the session, if the test passes."""
    return lambda text: record_property("told", text)
