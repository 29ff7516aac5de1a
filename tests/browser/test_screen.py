"""What a user meets on the screen: programs, keys, themes, narrow windows, ends, and names that mean ill."""

CONTRAST = """([foreground, background]) => {
    const light = text => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255).map(
            v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [a, b] = [light(foreground), light(background)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
}"""
COLOURS = """selector => {
    const element = document.querySelector(selector);
    let behind = element;
    while (/^rgba\\(.*, 0\\)$/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
}"""

FLASH = """%load_ext labkit
from labkit import Lab
from IPython.display import display
flash = Lab()
display(flash)
flash.left.run("clear; printf 'x%.0s' {1..79}; echo")
flash.close();"""


def test_full_screen_programs_and_a_new_size(book):
    opened = book()
    left = opened.pane("left")
    left.type("vi /tmp/file\n")
    left.wait_for("~\n~\n")
    opened.page.keyboard.type("ione\ntwo\nthree")
    opened.page.keyboard.press("Escape")
    opened.page.keyboard.type("ggdd:wq\n")
    left.wait_for("# vi /tmp/file\nroot@server:~#")
    left.type("cat /tmp/file\n")
    left.wait_for("\ntwo\nthree\nroot@server")
    assert opened.page.locator(".jp-Notebook .jp-Cell").count() == 1  # neither Escape nor dd was the notebook's
    left.type("seq 100 | less\n")
    left.wait_for("\n20\n21\n")
    opened.page.keyboard.type("Gq")
    left.type("top\n")
    left.wait_for("%Cpu")
    opened.page.keyboard.type("q")
    left.type("clear\nstty size\n")
    wide = left.here.locator(".xterm-rows > div").count()
    left.wait_for(f"size\n{wide} ")
    columns = int(left.text().split(f"size\n{wide} ")[1].split()[0])
    opened.page.set_viewport_size({"width": 1000, "height": 900})
    opened.wait("rows => document.querySelector('.labkit-pane').clientWidth < 470")
    left.type("clear; until [ $(stty size | cut -d' ' -f2) -lt COLUMNS ]; do sleep 0.1; done; echo smaller\n".replace(
        "COLUMNS", str(columns)
    ))  # fmt: skip
    left.wait_for("smaller\nroot@")


def test_the_theme_is_followed_and_readable(book):
    opened = book()
    opened.pane("left").type("unshare -m /bin/bash\n")
    opened.pane("left").wait_for_badge("label", "B")
    parts = ["name", "inode", "process", "label", "hint", "count", "explained"]
    selectors = [f".labkit-{part}" for part in parts] + [".labkit-screen th", ".labkit-yes", ".labkit-modes span"]
    selectors += [".labkit-panes .xterm-rows"]
    backgrounds = []
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        opened.page.click("text=Settings")
        opened.page.hover('.lm-Menu-itemLabel:text-is("Theme")')
        opened.page.click(f'.lm-Menu-itemLabel:text-is("{theme}")')
        opened.wait("theme => document.body.dataset.jpThemeName === theme", theme)
        dark = "Dark" in theme
        for selector, style, colour in ((".labkit-pane", "backgroundColor", 17), (".xterm-rows", "color", 230)):
            opened.wait(
                """([selector, style, text, dark]) =>
                    (getComputedStyle(document.querySelector(selector))[style] === text) === dark""",
                [selector, style, f"rgb({colour}, {colour}, {colour})", dark],
            )
        for selector in selectors:
            colours = opened.page.evaluate(COLOURS, selector)
            assert opened.page.evaluate(CONTRAST, colours) >= 4.5, (theme, selector, colours)
        backgrounds.append(opened.page.evaluate(COLOURS, ".labkit-panes .xterm-rows"))
    assert backgrounds[0] != backgrounds[1]


def test_all_is_reached_by_keyboard(book):
    opened = book()
    page = opened.page
    focused = "document.activeElement.className + ' ' + (document.activeElement.getAttribute('aria-label') ?? '')"
    page.locator(".labkit-badge").first.focus()
    page.keyboard.press("Enter")
    opened.wait("document.activeElement.classList.contains('xterm-helper-textarea')")
    page.keyboard.type("echo $((6*7))\n")
    opened.pane("left").wait_for("\n42\n")
    page.keyboard.press("Shift+Tab")
    assert "terminal left, in namespace A, bash" in page.evaluate(focused)
    page.keyboard.press("Tab")
    assert "terminal right" in page.evaluate(focused)
    page.keyboard.press("Tab")  # the button for screen readers
    page.keyboard.press("Enter")
    opened.wait("document.querySelector('.labkit-pane .xterm-accessibility') !== null")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")  # of "all": differences only
    opened.wait_for_rows()
    assert page.locator(".labkit-empty").text_content() == "No difference: there is one namespace only."
    page.keyboard.press("ArrowRight")
    opened.wait_for_rows("/", "/proc", "/dev")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator(".labkit-explained").text_content().startswith("Mount point: ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".labkit-explained").text_content().startswith("private: ")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.closest('.labkit-screen') === null")


def test_a_narrow_window_and_names_that_mean_ill(book):
    opened = book("%%left\nsource /tmp/mounts")
    left = opened.pane("left")
    opened.page.set_viewport_size({"width": 700, "height": 900})
    names = [
        "<img src=x onerror=alert(1)>",
        "a\\nb",
        "\\e]0;title\\a\\e[31mred",
        "\\xff\\xfe",
        "\\u202egnp.exe",
        "x" * 200,
    ]
    left.type("unshare -m /bin/bash\n")
    left.wait_for_badge("label", "B")
    for name in names:
        left.type(f"d=/mnt/$'{name}'; mkdir \"$d\"; mount -t tmpfs $'{name}' \"$d\"; clear\n")
    opened.wait("document.querySelectorAll('.labkit-screen tbody tr').length === 9")
    rows = opened.rows()
    assert sorted(each for each in rows if each.startswith("/mnt/")) == sorted(
        [
            "/mnt/<img src=x onerror=alert(1)>",
            "/mnt/a\\012b",
            "/mnt/\\033]0;title\\007\\033[31mred",
            "/mnt/\\377\\376",
            "/mnt/\\342\\200\\256gnp.exe",
            "/mnt/" + "x" * 200,
        ]
    )
    assert {len(cells) for cells in rows.values()} == {7}
    assert opened.page.locator(".labkit-screen img").count() == 0
    left.type(
        r"cd $'/mnt/<img src=x onerror=alert(1)>'; printf '<b>\e]0;x\a\e]52;c;eA==\a\xff\e]8;;javascript:alert(1)\a!'"
        + "\n"
    )
    left.wait_for_badge("cwd", "<img src=x onerror=alert(1)>")
    assert opened.page.evaluate("window.hacked") is None
    assert opened.page.title() != "x"
    tops = [box["y"] for pane in opened.page.locator(".labkit-pane").all() if (box := pane.bounding_box())]
    assert tops[1] > tops[0] + 100  # stacked
    for part in (".labkit-screen", ".labkit-pane", ".labkit-badge"):
        assert opened.page.evaluate(
            "part => [...document.querySelectorAll(part)].every(each => each.scrollWidth <= each.clientWidth + 1)", part
        ), part


def test_ends_and_beginnings(book):
    opened = book(
        'lab.left.run("exit") and None', 'lab.open("left") and lab.open("third") and None', "lab.close()", "lab.reset()"
    )
    left = opened.pane("left")
    left.type("echo $((6*7)) before\n")
    left.wait_for("\n42 before\n")
    opened.run(1)
    left.wait_for_badge("over", 'lab.open("left")')
    assert opened.pane("right").badge("over") == ""
    opened.run(2)
    opened.wait("document.querySelectorAll('.labkit-pane').length === 3")
    left.wait_for_badge("label", "A")
    assert left.badge("over") == ""
    opened.pane("third").type("echo $((7*7)) third\n")
    opened.pane("third").wait_for("\n49 third\n")
    opened.run(3)
    opened.wait("document.querySelector('.labkit-notice').textContent.includes('lab.reset() brings it back')")
    opened.wait_for_rows()
    opened.run(4)
    left.wait_for_badge("label", "A")
    opened.wait_for_rows("/", "/proc", "/dev")
    left.type("echo $((8*8)) again\n")
    left.wait_for("\n64 again\n")
    assert "before" not in left.text()

    opened.page.click("text=Kernel")
    opened.page.click('.lm-Menu-itemLabel:text-is("Restart Kernel…")')
    opened.page.click(".jp-Dialog button.jp-mod-warn")
    left.wait_for_badge("over", "The notebook's kernel has ended")
    opened.page.wait_for_selector("text=/Python 3.*Idle/")
    opened.run(0)
    opened.wait("document.querySelectorAll('.labkit-pane').length === 2")
    left.wait_for_badge("label", "A")
    opened.wait_for_rows("/", "/proc", "/dev")
    left.wait_for("root@server:~#")


def test_the_table_shows_what_changes(book):
    opened = book()
    left = opened.pane("left")
    opened.page.evaluate(
        """() => {
            window.marked = [];
            const look = changes => changes.forEach(({target}) =>
                target.className && window.marked.push(`${target.className} ${target.textContent}`));
            const options = {subtree: true, childList: true, attributes: true, attributeFilter: ["class"]};
            new MutationObserver(look).observe(document.querySelector(".labkit-screen tbody"), options);
        }"""
    )
    left.type("mount -t tmpfs t /mnt\n")
    opened.wait_for_rows("/", "/proc", "/dev", "/mnt")
    opened.wait("window.marked.some(each => each.startsWith('labkit-new /mnt'))")
    left.type("mount --make-shared /mnt\n")
    opened.wait("window.marked.some(each => each === 'labkit-changed shared')")
    assert int(opened.rows()["/mnt"][-1]) > 0  # its peer group
    left.type("mount -o remount,bind,ro /mnt\n")
    opened.wait("window.marked.some(each => each === 'labkit-changed ro,relatime')")
    left.type("umount /mnt\n")
    opened.wait("window.marked.some(each => each.includes('labkit-gone /mnt'))")
    opened.wait_for_rows("/", "/proc", "/dev")
    opened.page.get_by_label("with the kit's own").check()
    opened.wait("document.querySelectorAll('.labkit-screen tbody tr').length > 8")
    assert "/usr" in opened.rows()
    left.type("unshare -m /bin/bash\nmount -t tmpfs t /mnt\n")
    opened.page.get_by_label("differences only").check()
    opened.wait_for_rows("/mnt")
    opened.page.click("td:text-is('private')")
    assert "no mount made below it goes anywhere" in opened.page.locator(".labkit-explained").text_content()


def test_what_an_ended_terminal_printed_fits_its_pane(book):
    """The lab may end before the page has told its size: then lines of 80 columns stand in a pane of 60."""
    opened = book(FLASH)
    opened.run(1)
    opened.wait(
        """() => { const pane = document.querySelectorAll('.labkit-pane[aria-label="terminal left"]')[1];
            return pane?.classList.contains("labkit-ended")
                && pane.querySelector(".xterm-screen").offsetWidth <= pane.querySelector(".labkit-xterm").clientWidth
                && pane.querySelector(".xterm-rows").textContent.includes("x".repeat(79)) }"""
    )
