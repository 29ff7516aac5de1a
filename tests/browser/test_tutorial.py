"""The tutorial on the screen: typed by hand, and by cells."""

USUAL = ["/", "/proc", "/dev"]


def test_the_tutorial_typed_by_hand(book):
    opened = book()
    left, right = opened.pane("left"), opened.pane("right")
    left.wait_for_badge("label", "A")
    assert (right.badge("label"), right.colour()) == ("A", left.colour())
    before = left.badge("inode"), left.badge("process"), left.colour()
    opened.wait_for_columns("A")
    assert sorted(opened.rows()) == sorted(USUAL)

    left.type("mkdir /tmp/mount_ns\nunshare -m /bin/bash\n")
    left.wait_for_badge("label", "B")
    assert right.badge("label") == "A"
    after = left.badge("inode"), left.badge("process"), left.colour()
    assert [a != b for a, b in zip(after, before, strict=True)] == [True, True, True]
    opened.wait_for_columns("A", "B")
    opened.wait_for_rows(*USUAL)

    left.type("mount -n -t tmpfs tmpfs /tmp/mount_ns\n")
    opened.wait_for_rows(*USUAL, "/tmp/mount_ns")
    assert opened.rows()["/tmp/mount_ns"][:4] == ["\u2013 no", "✓ yes", "tmpfs", "tmpfs"]
    assert opened.rows()["/proc"][:3] == ["✓ yes", "✓ yes", "proc"]
    opened.wait(
        "document.querySelector('.labkit-said').textContent === 'left: /tmp/mount_ns mounted, visible in B only'"
    )

    right.type("grep -c mount_ns /proc/mounts; readlink /proc/$$/ns/mnt\n")
    right.wait_for(f"\n0\n{right.badge('inode')}\n")
    left.type("grep -c mount_ns /proc/mounts\n")
    left.wait_for("\n1\n")

    left.type("exit\n")
    opened.wait_for_rows(*USUAL)
    left.wait_for_badge("label", "A")
    assert (left.badge("inode"), left.badge("process"), left.colour()) == before
    opened.wait_for_columns("A")


def test_the_tutorial_by_cells(book):
    opened = book(
        "%%left\nmkdir /tmp/mount_ns\nunshare -m /bin/bash\nmount -n -t tmpfs tmpfs /tmp/mount_ns",
        "%%right\ngrep -c mount_ns /proc/mounts",
        "print(lab.transcript())",
        "lab.picture()",
    )
    opened.run(1)
    opened.wait_for_rows("/", "/proc", "/dev", "/tmp/mount_ns")
    opened.pane("left").wait_for("root@server:~# mount -n -t tmpfs tmpfs /tmp/mount_ns\nroot@server:~#")
    opened.run(2)
    opened.pane("right").wait_for("root@server:~# grep -c mount_ns /proc/mounts\n0\nroot@server:~#")
    opened.wait_for_cell(2)
    assert "mkdir /tmp/mount_ns" in opened.page.locator('pre[aria-label="terminal left"]').first.inner_text()
    opened.pane("right").type("echo $((6*7)) by hand\n")
    opened.pane("right").wait_for("42 by hand")
    opened.run(3)
    opened.wait("document.body.textContent.includes('right A | root@server:~# echo $((6*7)) by hand')")
    said = opened.page.locator(".jp-Notebook .jp-Cell").nth(3).locator(".jp-OutputArea").inner_text()
    assert [line.split("|")[0].strip() for line in said.split("\n") if "root@server" in line] == [
        "left A", "left A", "left B", "right A", "right A",
    ]  # fmt: skip
    opened.run(4)
    picture = (
        opened.page.locator(".jp-Notebook .jp-Cell").nth(4).locator(".jp-OutputArea img, .jp-OutputArea svg").first
    )
    assert picture.evaluate("picture => picture.getBoundingClientRect().width") > 500
