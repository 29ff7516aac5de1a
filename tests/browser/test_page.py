"""What the page keeps to itself, copies, pastes and reads out; and a kernel that is silent."""

import os
import signal


def test_keys_in_the_table_are_not_the_notebooks(book):
    """Most of JupyterLab's selectors end in :focus, and match what has the focus whatever its ancestors say."""
    opened = book()
    page = opened.page
    page.locator(".labkit-screen td").first.click()
    for key in ("d", "d", "a", "b", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    page.locator(".labkit-modes input").nth(1).focus()
    page.keyboard.press("ArrowLeft")
    opened.wait_for_rows()
    page.locator(".labkit-badge").first.focus()
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.keyboard.press("Enter")
    opened.wait("document.activeElement.classList.contains('xterm-helper-textarea')")
    page.keyboard.type("echo $((6*7))\n")
    opened.pane("left").wait_for("\n42\n")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1
    page.locator(".labkit-badge").first.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("b")  # now it is the notebook's
    opened.wait("document.querySelectorAll('.jp-Notebook .jp-Cell').length === 2")


def test_a_link_that_a_program_prints_is_text(book):
    """xterm.js would ask whether to open what OSC 8 names."""
    opened = book()
    asked = []
    opened.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    left = opened.pane("left")
    left.type(r"clear; printf '\e]8;;http://example.org/\a%s\e]8;;\a\n' LINK; echo $((6*7))" + "\n")
    left.wait_for("LINK\n42\n")
    box = left.here.locator(".xterm-rows > div").first.bounding_box()
    for x in (8, 10, 12):  # xterm.js looks for a link when the pointer moves
        opened.page.mouse.move(box["x"] + x, box["y"] + 6)
        opened.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    opened.page.mouse.click(box["x"] + 12, box["y"] + 6)
    assert asked == []
    assert left.here.locator(".xterm-cursor-pointer").count() == 0


def test_a_page_loaded_again_answers_what_a_program_asks(book):
    """One view answers: the kernel must not wait for the one that has gone."""
    opened = book()
    opened.page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").first.click()
    opened.page.keyboard.press("Control+s")
    opened.wait("document.querySelector('.lm-TabBar-tab.jp-mod-dirty') === null")
    opened.page.reload()
    opened.page.wait_for_selector(".labkit-screen tbody tr")
    left = opened.pane("left")
    left.wait_for("root@server:~#")
    left.type("printf '\\e[c'; IFS= read -rs -d c -t 5 a; printf 'got %q.\\n' \"$a\"\n")
    left.wait_for("\ngot $'\\E[?1;2'.\n")


def test_copy_and_paste(book):
    opened = book(first="%load_ext labkit\nfrom labkit import Lab\nlab = Lab()\nlab")
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    left, right = opened.pane("left"), opened.pane("right")
    left.type("clear; echo word-$((6*7))\n")
    left.wait_for("word-42\nroot")
    box = left.here.locator(".xterm-rows > div").first.bounding_box()
    opened.page.mouse.dblclick(box["x"] + 12, box["y"] + 6)
    opened.page.keyboard.press("Control+c")
    assert opened.page.evaluate("navigator.clipboard.readText()") == "word-42"
    right.type("echo pasted:")
    opened.page.keyboard.press("Control+v")
    right.wait_for("echo pasted:word-42")
    opened.page.keyboard.press("Enter")
    right.wait_for("\npasted:word-42\n")
    opened.page.evaluate("navigator.clipboard.writeText('echo two\\necho lines\\n')")
    right.type("clear\n")
    opened.page.keyboard.press("Control+v")
    right.wait_for("echo lines")
    assert "\ntwo" not in right.text()  # bracketed paste: nothing runs until Enter
    opened.page.keyboard.press("Enter")
    right.wait_for("\ntwo\nlines\n")
    left.type("sleep 1000\n")
    left.wait_for_badge("process", "sleep")
    opened.page.keyboard.press("Control+c")  # nothing is selected
    left.wait_for_badge("process", "bash")


def test_a_screen_reader_is_served_on_request(book):
    opened = book()
    left = opened.pane("left")
    assert left.here.locator(".xterm-accessibility").count() == 0
    button = opened.page.get_by_role("button", name="screen reader")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    left.type("echo spoken-$((6*7))\n")
    left.here.locator(".xterm-accessibility >> text=spoken-42").first.wait_for(state="attached")


def test_a_kernel_that_does_not_answer_is_not_called_dead(book):
    opened = book("import os\nprint('kernel', os.getpid(), 'ends')")
    opened.run(1)
    (pid,) = opened.wait("/kernel (\\d+) ends/.exec(document.querySelector('.jp-Notebook').innerText)?.slice(1)")
    opened.page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").first.click()
    notices = "[...document.querySelectorAll('.labkit-notice')]"
    os.kill(int(pid), signal.SIGSTOP)
    try:
        opened.page.locator(".labkit-panes").click(button="right", position={"x": 3, "y": 2})
        opened.page.click("text=Create New View for Cell Output")
        opened.wait(
            "[...document.querySelectorAll('.labkit-notice')].some(e => e.textContent.includes('does not answer'))"
        )
    finally:
        os.kill(int(pid), signal.SIGCONT)
    opened.wait(f"{notices}.every(notice => notice.textContent === '')")
    assert opened.page.locator(".labkit-pane").count() == 4
