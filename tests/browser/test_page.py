"""What the page keeps to itself: keys in the table, a program's links, and its farewell."""


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
