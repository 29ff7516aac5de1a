"""Take the picture of the README: lesson 01 in JupyterLab, its steps up to the mount typed by its own cells.

Needs Chromium (CHROMIUM names another one than /usr/bin/chromium); nothing is fetched.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from .browsing import chromium, jupyterlab

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "screen.png"
LESSON = "01-mount-namespaces.ipynb"
LAST = "%%right\nreadlink"  # the cell up to which the lesson is run


def main() -> None:
    """Write docs/screen.png, at twice its size on the page."""
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(ROOT / "notebooks" / LESSON, directory)
        with jupyterlab(Path(directory)) as (address, token), chromium() as browser:
            page = browser.new_page(viewport={"width": 1100, "height": 1200}, device_scale_factor=2)
            page.goto(f"{address}/lab/tree/{LESSON}?token={token}")
            shoot(page)


def shoot(page: Page) -> None:
    """Run the lesson up to `LAST`, and take what is then on the screen."""
    page.wait_for_selector("text=/Python 3.*Idle/", timeout=60_000)
    page.keyboard.press("Control+b")  # the side bar away
    sources = page.evaluate(
        "async () => (await (await fetch(`/api/contents/${location.pathname.split('/').pop()}`)).json()).content.cells"
    )
    number = next(i for i, cell in enumerate(sources) if cell["source"].startswith(LAST))
    page.locator(".jp-Cell").first.click()
    for _ in range(number + 1):
        page.keyboard.press("Shift+Enter")
    page.wait_for_function("document.querySelectorAll('.labkit-screen tbody tr').length >= 4", timeout=60_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.labkit-pane')].every(pane => pane.textContent.includes('mount_ns'))"
    )
    screen = page.locator(".labkit-screen").first
    screen.scroll_into_view_if_needed()
    PICTURE.parent.mkdir(exist_ok=True)
    screen.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
