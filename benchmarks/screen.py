"""Keys, floods and mounts on the screen, beside JupyterLab's own terminal in the same browser."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from playwright.sync_api import Browser, Page

from tools.browsing import chromium, jupyterlab, write_notebook

from .measure import Row, Scale, rounds

NOTEBOOK = "screen.ipynb"
CELLS = ["%load_ext labkit\nfrom labkit import Lab\nlab = Lab()\nlab", "while True: pass"]
PLAIN = "--ServerApp.jpserver_extensions={'labkit.server': False}"
EXPOSED = "--LabApp.expose_app_in_browser=True"
PATIENCE = 120_000  # milliseconds
COMMANDS = count(1)
FLOOD = r"head -c {}000000 /dev/zero | tr '\0' x | fold -w 79"

# From the key to the frame in which `expected` stands in the terminal. Ours is drawn into the document,
# JupyterLab's on a canvas.
CLOCK = """([text, hook]) => {
    window.clock = {expected: "", since: 0, until: 0, text: new Function(`return ${text}`)};
    const drawn = () => {
        if (clock.expected && !clock.until && clock.text().includes(clock.expected)) clock.until = performance.now();
    };
    addEventListener("keydown", () => { clock.since ||= performance.now() }, true);
    new Function("drawn", hook)(drawn);
}"""
OURS = (
    "[...document.querySelector('.xterm-rows').children].map(row => row.textContent.trimEnd()).join('')",
    "new MutationObserver(drawn).observe(document.querySelector('.xterm-rows'),"
    " {subtree: true, childList: true, characterData: true})",
)
TERMINAL = "jupyterapp.shell.currentWidget.content._term"
THEIRS = (
    f"Array.from({{length: {TERMINAL}.rows}}, (_, y) => {TERMINAL}.buffer.active.getLine("
    f"{TERMINAL}.buffer.active.viewportY + y)?.translateToString(true) ?? '').join('')",
    f"{TERMINAL}.onRender(drawn)",
)
ROW = """place => {
    const table = document.querySelector(".labkit-screen"), shown = cell => cell.textContent === place;
    clock.row = 0;
    const observer = new MutationObserver(() => {
        if (![...table.querySelectorAll("tbody tr > :first-child")].some(shown)) return;
        observer.disconnect();
        clock.row = Date.now() / 1000;
    });
    observer.observe(table, {subtree: true, childList: true, characterData: true});
}"""


def screen(scale: Scale) -> list[Row]:
    runs = min(scale.runs, 50)
    with tempfile.TemporaryDirectory() as directory, chromium() as browser:
        root = Path(directory)
        write_notebook(root / NOTEBOOK, CELLS)
        with terminals(browser, root, PLAIN) as (ours, theirs):
            slow = rounds(runs, *(keys(page) for page in (ours, theirs)))
        with terminals(browser, root) as (ours, theirs):
            idle = rounds(runs, *(keys(page) for page in (ours, theirs)))
            numbers = count()
            (mounted,) = rounds(runs, lambda: mount_to_row(ours, next(numbers)))
            flood = rounds(
                min(3, runs), *(partial(run, page, FLOOD.format(scale.megabytes)) for page in (ours, theirs))
            )
            ours.locator(".jp-Cell").nth(1).locator(".jp-InputPrompt").click()
            ours.keyboard.press("Control+Enter")
            ours.wait_for_selector("text=/Python 3.*Busy/")
            busy = rounds(runs, *(keys(page) for page in (ours, theirs)))
    peer = "JupyterLab's terminal"
    return [
        Row.of("key → echo, kernel idle", idle[0], peer, idle[1], "≤", 2),
        Row.of("key → echo, kernel busy", busy[0], peer, busy[1], "≤", 2),
        Row.of("key → echo, without our server extension", slow[0], peer, slow[1], "≤", 0),
        Row.of(f"{scale.megabytes} MB of output, drawn", flood[0], peer, flood[1], "≤", 0),
        Row.of("mount(8) begins → row on screen", mounted, "key → echo", idle[0], "", 0.05),
    ]


@contextmanager
def terminals(browser: Browser, root: Path, *arguments: str) -> Iterator[tuple[Page, Page]]:
    """A page with a lab's screen, and a page with JupyterLab's terminal, on one server."""
    with ExitStack() as stack:
        address, token = stack.enter_context(jupyterlab(root, EXPOSED, *arguments))
        pages = []
        for path in (f"lab/tree/{NOTEBOOK}", "lab"):
            context = browser.new_context(viewport={"width": 1200, "height": 900})
            context.set_default_timeout(PATIENCE)
            stack.callback(context.close)
            pages.append(context.new_page())
            pages[-1].goto(f"{address}/{path}?token={token}&reset")
        ours, theirs = pages
        ours.wait_for_selector("text=/Python 3.*Idle/")
        ours.locator(".jp-Cell").first.locator(".jp-InputPrompt").click()
        ours.keyboard.press("Control+Enter")
        ours.wait_for_selector(".labkit-screen tbody tr")
        theirs.click(".jp-LauncherCard[title*=terminal]")
        for page, (text, hook) in ((ours, OURS), (theirs, THEIRS)):
            page.wait_for_selector(".xterm-screen")
            page.evaluate(CLOCK, [text, hook])
            run(page, "PS1='$ '; bind 'set enable-bracketed-paste off'")
        yield ours, theirs


def keys(page: Page) -> Callable[[], float]:
    """A timer for one key at a time, behind a prompt."""
    run(page, "clear")
    number = count(1)
    return lambda: press(page, "x", "$ " + "x" * next(number))


def press(page: Page, key: str, expected: str) -> float:
    """Seconds from this key to the frame that shows what is expected."""
    page.evaluate("expected => Object.assign(clock, {expected, since: 0, until: 0})", expected)
    page.keyboard.press(key)
    page.wait_for_function("clock.until > 0")
    return float(page.evaluate("clock.until - clock.since")) / 1000


def run(page: Page, command: str) -> float:
    """Seconds from Enter to the frame that shows its end."""
    number = next(COMMANDS)
    page.locator(".xterm-helper-textarea").first.focus()
    page.keyboard.press("Control+u")
    page.evaluate("expected => Object.assign(clock, {expected, until: 0})", f"ne-{number}.")
    page.keyboard.insert_text(f"{command}; echo do''ne-{number}.")
    page.wait_for_function("clock.until > 0")
    return press(page, "Enter", f"done-{number}.")


def mount_to_row(page: Page, number: int) -> float:
    """Seconds from the shell's clock, just before it starts mount(8), to the change of the page that adds the row."""
    place = f"/tmp/m{number}"
    page.evaluate(ROW, place)
    run(page, f"clear; mkdir {place}; T=$EPOCHREALTIME; mount -t tmpfs tmpfs {place}; echo at=$T=")
    page.wait_for_function("clock.row > 0")
    return float(page.evaluate(r"clock.row - /at=([\d.]+)=/.exec(clock.text())[1]"))
