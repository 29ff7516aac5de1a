"""What a long test shows of its progress."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Show that a stage begins, and how long it took."""
    print(f"\n== {name}", flush=True)
    begin = time.monotonic()
    yield
    print(f"== {name}: {time.monotonic() - begin:.0f} s", flush=True)
