"""JupyterLab as `labkit start` starts it, and Chromium on it: one of each for all tests here."""

import os
import re

import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: NO browser test was run")

from tools.browsing import CHROMIUM, chromium, jupyterlab, write_notebook  # noqa: E402

LAB = "%load_ext labkit\nfrom labkit import Lab\nlab = Lab()\nlab"
PATIENCE = int(os.environ.get("PATIENCE", 30_000))  # milliseconds: for a machine that is far too busy


@pytest.fixture(scope="package")  # not "session": Playwright keeps an event loop running, which others need
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: NO browser test was run (apt install chromium, or set CHROMIUM)")
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def jupyter(tmp_path_factory):
    """The directory that JupyterLab serves, its address and its token."""
    directory = tmp_path_factory.mktemp("notebooks")
    with jupyterlab(directory) as (address, token):
        yield directory, address, token


@pytest.fixture
def context(browser, jupyter):
    """A browser that knows nothing of the test before; its kernels end with it."""
    _, address, token = jupyter
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE)
    context.add_init_script("window.alert = () => { window.hacked = true }")
    yield context
    for page in context.pages:
        page.close(run_before_unload=False)
    head = {"Authorization": f"token {token}"}
    failed = []
    for session in context.request.get(f"{address}/api/sessions", headers=head).json():
        gone = context.request.delete(f"{address}/api/sessions/{session['id']}", headers=head)
        failed += [] if gone.ok else [gone.text()]
    context.close()
    assert not failed


@pytest.fixture
def book(context, jupyter, request):
    """Open a notebook with the given cells, and run the first one: the lab's screen."""

    def open_book(*cells, first=LAB):
        directory, address, token = jupyter
        name = re.sub(r"\W", "_", request.node.name)
        write_notebook(directory / f"{name}.ipynb", (first, *cells))
        page = context.new_page()
        page.goto(f"{address}/lab/tree/{name}.ipynb?token={token}&reset")
        page.wait_for_selector("text=/Python 3.*Idle/")
        page.keyboard.press("Control+b")
        opened = Book(page)
        opened.run(0)
        page.wait_for_selector(".labkit-screen tbody tr")
        return opened

    return open_book


class Book:
    """A notebook in the browser, and the screen in it, as a user sees them."""

    def __init__(self, page):
        self.page = page

    def run(self, number):
        """Run a cell; do not wait for its end."""
        self.page.locator(".jp-Notebook .jp-Cell").nth(number).locator(".jp-InputPrompt").click()
        self.page.keyboard.press("Control+Enter")

    def wait_for_cell(self, number):
        self.wait(
            f"!document.querySelectorAll('.jp-Notebook .jp-Cell .jp-InputPrompt')[{number}].textContent.includes('*')"
        )

    def wait(self, condition, argument=None):
        """Until a JavaScript expression is true, or this function of `argument`."""
        try:
            return self.page.wait_for_function(condition, arg=argument).json_value()
        except playwright_api.TimeoutError:
            screens = "\n".join(self.page.locator(".labkit-screen").all_inner_texts()).replace("\xa0", " ")
            pytest.fail(f"waited in vain for {argument!r} in {condition}; on the screen was\n{screens}", pytrace=False)

    def pane(self, name):
        return Pane(self, name)

    def rows(self):
        """The table as it is drawn, by the text of its first column."""
        return self.page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll(".labkit-screen tbody tr:not(.labkit-gone)")].map(
                row => [row.cells[0].textContent, [...row.cells].slice(1).map(cell => cell.textContent)]))"""
        )

    def wait_for_rows(self, *names):
        """Until the table has just these, whatever their order."""
        self.wait(
            """names => JSON.stringify([...document.querySelectorAll(".labkit-screen tbody tr:not(.labkit-gone)")].map(
                row => row.cells[0].textContent).sort()) === JSON.stringify(names)""",
            sorted(names),
        )

    def wait_for_columns(self, *labels):
        """Until the table has just these namespaces: it comes after the terminals' heads."""
        self.wait(
            """labels => JSON.stringify([...document.querySelectorAll(".labkit-screen th .labkit-label")].map(
                label => label.textContent)) === JSON.stringify(labels)""",
            labels,
        )


class Pane:
    """One terminal on the screen."""

    def __init__(self, book, name):
        self.book, self.name = book, name
        self.here = book.page.locator(f'.labkit-pane[aria-label="terminal {name}"]').first

    def type(self, text):
        self.here.locator(".labkit-xterm").click()
        self.book.page.keyboard.type(text)

    def text(self):
        """What stands on the screen, line by line."""
        lines = self.here.locator(".xterm-rows > div").all_text_contents()
        return "\n".join(line.replace("\xa0", " ").rstrip() for line in lines).rstrip()

    def wait_for(self, text):
        self.book.wait(
            """([name, text]) => [...document.querySelectorAll(
                `.labkit-pane[aria-label="terminal ${name}"] .xterm-rows > div`)].map(
                row => row.textContent.replaceAll("\\u00a0", " ").trimEnd()).join("\\n").includes(text)""",
            [self.name, text],
        )

    def badge(self, part):
        return self.here.locator(f".labkit-{part}").first.text_content()

    def wait_for_badge(self, part, text):
        self.book.wait(
            """([name, part, text]) => document.querySelector(
                `.labkit-pane[aria-label="terminal ${name}"] .labkit-${part}`)?.textContent.includes(text)""",
            [self.name, part, text],
        )

    def colour(self):
        return self.here.locator(".labkit-label").evaluate("label => getComputedStyle(label).backgroundColor")
