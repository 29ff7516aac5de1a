"""The namespaces drawn: trees, what one alone sees, peers; the same each time, and safe."""

from xml.etree import ElementTree

from labkit import Lab
from labkit.linux.mountinfo import Mount
from labkit.picture import Picture


def mount(number, parent, point, *tags, minor=None, fstype="tmpfs"):
    return Mount(number, parent, 0, minor or number, "/", point, "rw", tags, fstype, "source", "rw")


def texts(picture):
    return [
        "".join(each.itertext())
        for each in ElementTree.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_the_tutorial():
    with Lab() as lab:
        lab.left.run("unshare -m /bin/bash")
        lab.left.run("mount -t tmpfs tmpfs /mnt")
        picture = lab.picture()
        assert str(picture) == (
            "namespace A: right\n  /  (tmpfs)\n    /proc  (proc)\n    /dev  (tmpfs)\n"
            "namespace B: left\n  /  (tmpfs)\n    /proc  (proc)\n    /dev  (tmpfs)\n    /mnt  (tmpfs, only in B)"
        )
        assert picture.svg == lab.picture().svg
        assert [text for text in texts(picture) if text] == [
            "A", "right", "/ tmpfs", "/proc proc", "/dev tmpfs",
            "B", "left", "/ tmpfs", "/proc proc", "/dev tmpfs", "/mnt tmpfs", "only in B",
        ]  # fmt: skip


def test_peers_are_numbered_in_order_of_appearance():
    shared = [
        mount(1, 0, "/", "shared:77"),
        mount(2, 1, "/a", "shared:9", "master:77"),
        mount(3, 1, "/b", "unbindable"),
    ]
    picture = Picture({"A": ("A", shared), "B": ("B", shared)}, {"A": "left"})
    groups = ["peer group 1", "peer group 2, slave of 1", "unbindable"]
    assert [line.group for line in picture.boxes["B"]] == groups
    legend = ["peer group 1: A:/, B:/; its slaves: A:/a, B:/a", "peer group 2: A:/a, B:/a"]
    assert [text for text in texts(picture) if "group" in text or text == "unbindable"] == [
        *2 * groups,
        *(2 * line for line in legend),  # with its title
    ]
    assert str(picture).endswith("\n".join(legend))


def test_a_master_that_no_box_shows_is_named_so():
    picture = Picture({"A": ("A", [mount(1, 0, "/", "master:5")])}, {})
    assert str(picture).endswith("peer group 1: nobody here; its slaves: A:/")


def test_overmounts_orphans_and_thirty_mounts_are_all_drawn():
    table = [mount(1, 99, "/"), mount(2, 1, "/a"), mount(3, 2, "/a"), mount(4, 98, "/lost"), mount(5, 5, "/itself")]
    table += [mount(10 + n, 1, f"/m{n}") for n in range(25)]
    lines = Picture({"A": ("A", table)}, {}).boxes["A"]
    assert [(line.depth, line.name) for line in lines[:3]] == [(0, "/"), (1, "/a"), (2, "/a")]
    assert (len(lines), [line.depth for line in lines[-2:]]) == (30, [0, 0])


def test_names_that_mean_ill_stay_text():
    name = "/<script>alert(1)</script>&\n\x1b[31m\udcff" + "x" * 300
    picture = Picture({"A": ("A", [mount(1, 0, name)])}, {"A": "<b>"})
    drawn = ElementTree.fromstring(picture.svg)
    assert {each.tag.split("}")[1] for each in drawn.iter()} <= set("svg title desc rect g text tspan path".split())
    assert "/<script>alert(1)</script>&\\012\\033[31m\\377" in "".join(drawn.itertext())
