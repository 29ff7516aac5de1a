"""Two rules for every run: in CI nothing is skipped, and after the last test nothing is left."""

import gc
import os
import tempfile
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
from hypothesis import settings

from tests.leaks import Watch

# In CI the same examples each time: what is new is found where somebody looks at it.
settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skipped or expected failure of a test fail in CI."""
    return failed_if_skipped_in_ci((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a skipped module fail in CI."""
    return failed_if_skipped_in_ci((yield))


def failed_if_skipped_in_ci(report: Report) -> Report:
    """Turn a skip into a failure if this is CI: a capability that is missing there hides a regression."""
    if os.environ.get("CI") and report.outcome == "skipped":
        reason = getattr(report, "wasxfail", None) or report.longreprtext
        report.__dict__.pop("wasxfail", None)
        report.outcome = "failed"
        report.longrepr = f"skipped, which in CI is a failure: {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the last test no process, mount or file is left of any.

    The first fixture made is the last one ended. Jupyter's and IPython's own files go to pytest's directory.
    """
    jupyter = tmp_path_factory.mktemp("jupyter")
    watch = Watch(tmp_path_factory.mktemp("tmp"))
    # The runtime directory's name is short: a kernel's sockets are in there, and unix(7) takes 107 bytes.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(jupyter / name))
        patch.setenv("JUPYTER_RUNTIME_DIR", runtime)
        patch.setenv("TMPDIR", str(watch.directory))
        patch.setattr(tempfile, "tempdir", str(watch.directory))
        yield
    gc.collect()
    if left := watch.wait_until_nothing_is_left():
        pytest.fail("the tests left behind:\n  " + "\n  ".join(left), pytrace=False)
