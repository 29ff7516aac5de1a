"""Several at once: a busy kernel, a cell beside a hand, two views, a flood."""

import re

import pytest

BUSY = {
    "asleep": "import time; time.sleep(60)",
    "computing": "while True: pass",
    "printing": "import time\nwhile True: print('x', flush=True); time.sleep(0.01)",
}


@pytest.mark.parametrize("how", BUSY)
def test_while_a_cell_runs_typing_and_tables_go_on(book, how):
    opened = book(BUSY[how], "print('still' + ' there')")
    left = opened.pane("left")
    opened.run(1)
    opened.wait("document.querySelectorAll('.jp-Notebook .jp-Cell .jp-InputPrompt')[1].textContent.includes('*')")
    left.type("echo $((6*7)); mount -t tmpfs tmpfs /mnt\n")
    left.wait_for("\n42\n")
    opened.wait_for_rows("/", "/proc", "/dev", "/mnt")
    prompt = opened.page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").nth(1)
    assert "*" in prompt.text_content()
    opened.page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".jp-InputPrompt").click()
    opened.page.keyboard.press("i")
    opened.page.keyboard.press("i")
    opened.wait_for_cell(1)
    opened.run(2)
    opened.wait("document.querySelectorAll('.jp-Notebook .jp-Cell')[2].textContent.includes('still there')")


def test_a_cell_and_a_hand_do_not_mix(book):
    opened = book("%%left\nsleep 3; echo from the cell", "%%left\nread answer\n", "%%left\nsleep 60")
    left = opened.pane("left")
    left.type("echo half")
    left.wait_for("# echo half")
    opened.run(1)
    left.wait_for_badge("state", "a cell is typing")
    left.type(" and half\n")  # waits until the cell is done
    left.wait_for("from the cell\nroot@server:~# echo half and half\nhalf and half\nroot@server:~#")
    assert left.text().count("half and half") == 2
    assert left.badge("state") == ""

    opened.run(2)
    left.wait_for("# read answer")
    left.wait_for_badge("state", "a cell is typing")
    left.type("an answer\n")
    opened.wait_for_cell(2)
    left.type('echo "<$answer>"\n')
    left.wait_for("\n<an answer>\n")

    opened.run(3)
    left.wait_for_badge("process", "sleep")
    left.here.locator(".labkit-xterm").click()
    opened.page.keyboard.press("Control+c")
    opened.wait_for_cell(3)
    assert "[exit status 130]" in opened.page.locator(".jp-Notebook .jp-Cell").nth(3).inner_text()


def test_a_page_loaded_again_and_a_second_view_show_the_same(book):
    opened = book()
    left = opened.pane("left")
    left.type("echo $((6*7)) old\n")
    left.wait_for("\n42 old\n")
    opened.page.locator(".labkit-panes").click(button="right", position={"x": 3, "y": 2})
    opened.page.click("text=Create New View for Cell Output")
    opened.wait("document.querySelectorAll('.labkit-pane[aria-label=\"terminal left\"]').length === 2")
    left.type("echo $((7*7)) new\n")
    opened.wait(
        """[...document.querySelectorAll('.labkit-pane[aria-label="terminal left"] .xterm-rows')].filter(
            rows => rows.textContent.includes("42 old") && rows.textContent.includes("49 new")).length === 2"""
    )
    # Who are you? One of the two views answers, and none again when the question is replayed.
    left.type("printf '\\e[c'; IFS= read -rs -d c -t 5 a; printf '%q\\n' \"$a\"\n")
    left.wait_for("$'\\E[?")
    left.type("\n")
    left.wait_for("root@server:~#\nroot@server:~#")
    assert len(re.findall(r"\$'\\E\[\?", left.text())) == 1

    opened.page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").first.click()
    with opened.page.expect_response(lambda response: response.request.method == "PUT" and response.ok):
        opened.page.click("text=File")
        opened.page.click('.lm-Menu-itemLabel:text-is("Save Notebook")')
    opened.page.reload()
    opened.page.wait_for_selector(".labkit-screen tbody tr")
    left.wait_for("\n42 old\n")
    left.wait_for("\n49 new\n")
    left.type("echo $((8*8)) after\n")
    left.wait_for("\n64 after\n")
    assert left.text().endswith("64 after\nroot@server:~#")


def test_a_flood_loses_nothing_and_can_be_stopped(book):
    opened = book()
    left, right = opened.pane("left"), opened.pane("right")
    left.type("seq 1 2800000; echo $((6*7)) done\n")  # 21 MB
    right.type("echo $((7*7)) meanwhile\n")
    right.wait_for("\n49 meanwhile\n")
    left.wait_for("\n42 done\n")
    numbers = [int(line) for line in left.text().split("\n") if line.isdecimal()]
    assert numbers == list(range(numbers[0], 2800001))
    left.type("yes\n")
    left.wait_for("y\ny\ny\n")
    opened.page.keyboard.press("Control+c")
    left.wait_for("^C\nroot@server:~#")
