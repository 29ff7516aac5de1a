"""labkit.transcript: one command as it was shown, as text and as HTML."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest
from IPython.lib.pretty import pretty

from labkit.linux.namespaces import Namespace
from labkit.transcript import BADGE, BLOCK, COLOURS, LINES_SHOWN, STYLE, Transcript

HERE = Namespace("mnt", 4026531841, pid=1)
THERE = Namespace("mnt", 4026532000, pid=2)
PROMPT = "root@server:~# "


def transcript(
    *lines: str, output: str = "", status: int | None = 0, note: str = "", label: str = "A", terminal: str = "left"
) -> Transcript:
    namespace = HERE if label == "A" else THERE
    return Transcript.of(terminal, label, namespace, PROMPT, lines, output, status, note)


class Reader(HTMLParser):
    """What a browser makes of it: the tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_reads_as_the_terminal_showed_it() -> None:
    shown = transcript("cat << END", "a", "END", output="a")
    assert str(shown) == f"{PROMPT}cat << END\n> a\n> END\na"
    assert (shown.command, shown.output, shown.status) == ("cat << END\na\nEND", "a", 0)
    assert (shown.terminal, shown.label, shown.namespace) == ("left", "A", HERE)
    assert pretty(shown) == str(shown)


def test_a_command_without_output_is_its_prompt_and_itself() -> None:
    assert str(transcript("true")) == f"{PROMPT}true"


@pytest.mark.parametrize(
    ("status", "note", "end"),
    [
        (0, "", []),
        (1, "", ["[exit status 1]"]),
        (130, "", ["[exit status 130]"]),
        (None, "", []),
        (None, "interrupted", ["[interrupted]"]),
        (2, "and a note", ["[exit status 2]", "[and a note]"]),
    ],
)
def test_the_exit_status_is_noted_where_it_is_not_0(status: int | None, note: str, end: list[str]) -> None:
    """None: the command has not ended."""
    shown = transcript("grep x", output="out", status=status, note=note)
    assert str(shown).split("\n")[2:] == end
    assert shown.status == status
    assert Reader(shown._repr_html_()).text.split("\n")[2:] == end


def test_a_transcript_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        transcript("true").status = 1  # type: ignore[misc]


def test_several_are_joined_as_one_terminal_showed_them() -> None:
    first = transcript("echo a", output="a")
    second = transcript("true", status=0)
    third = transcript("false", output="", status=1, label="B")
    joined = Transcript.joined([first, second, third])
    assert str(joined) == "\n".join(map(str, (first, second, third)))
    assert joined.command == "echo a\ntrue\nfalse"
    assert (joined.output, joined.status) == ("a", 1)
    assert (joined.label, joined.namespace) == ("A", HERE)
    assert str(Transcript.joined([first])) == str(first)


def test_the_html_says_the_same_as_the_text() -> None:
    """Before each command stands the label of its namespace, in a badge."""
    shown = Transcript.joined([transcript("echo a", output="a\nb"), transcript("false", status=1, label="B")])
    reader = Reader(shown._repr_html_())
    assert reader.open == []
    assert reader.text == f"A {PROMPT}echo a\na\nb\nB {PROMPT}false\n[exit status 1]"
    (pre, attributes), *spans = reader.tags
    assert (pre, attributes) == ("pre", {"aria-label": "terminal left", "style": BLOCK})
    assert {tag for tag, _ in spans} == {"span"}
    assert [a["title"] for _, a in spans if "title" in a] == ["namespace A", "namespace B"]
    assert [a["style"] for _, a in spans] == [
        BADGE + COLOURS[0], STYLE["command"], STYLE["output"], BADGE + COLOURS[1], STYLE["command"], STYLE["note"],
    ]  # fmt: skip


HOSTILE = "<script>alert(\"1\" + '2')</script>&amp;</pre><b>"


@pytest.mark.parametrize("where", ["command", "output", "note", "prompt", "terminal"])
def test_whatever_is_shown_is_text_in_the_html(where: str) -> None:
    """A file name may be HTML; it is read as it is, and makes no tag."""
    parts = {"command": "ls", "output": "out", "note": "note", "prompt": PROMPT, "terminal": "left"} | {where: HOSTILE}
    shown = Transcript.of(
        parts["terminal"], "A", HERE, parts["prompt"], [parts["command"]], parts["output"], 0, parts["note"]
    )
    reader = Reader(shown._repr_html_())
    assert reader.text == f"A {parts['prompt']}{parts['command']}\n{parts['output']}\n[{parts['note']}]"
    assert {tag for tag, _ in reader.tags} == {"pre", "span"}
    assert reader.tags[0][1]["aria-label"] == f"terminal {parts['terminal']}"


@pytest.mark.parametrize("label", ["A", "F", "G", "Z", "AA", "AZ", "BA"])
def test_every_label_has_a_colour(label: str) -> None:
    html = transcript("true", label=label)._repr_html_()
    assert html.count(BADGE) == 1
    assert any(f'{BADGE}{colour}">{label}</span>' in html for colour in COLOURS)


def luminance(colour: str) -> float:
    """Of WCAG 2.1, "relative luminance"."""
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_badges_can_be_read_and_told_apart() -> None:
    """White on each: contrast of 4.5 and more, as WCAG 2.1 asks for (1.4.3)."""
    assert all(1.05 / (luminance(colour) + 0.05) >= 4.5 for colour in COLOURS)
    assert len(set(COLOURS)) == len(COLOURS)


@pytest.mark.parametrize("count", [1, LINES_SHOWN - 1, LINES_SHOWN])
def test_output_is_shown_whole_up_to_the_limit(count: int) -> None:
    output = "\n".join(map(str, range(count)))
    assert str(transcript("seq", output=output)) == f"{PROMPT}seq\n{output}"


@pytest.mark.parametrize("count", [LINES_SHOWN + 1, 100_000])
def test_longer_output_is_shown_in_part_and_says_so(count: int) -> None:
    """The first and the last lines, and how many are between; `.output` has them all."""
    numbers = [str(number) for number in range(count)]
    shown = transcript("seq", output="\n".join(numbers))
    _, *lines = str(shown).split("\n")
    half = LINES_SHOWN // 2
    assert lines[:half] + lines[half + 1 :] == numbers[:half] + numbers[-half:]
    assert lines[half] == f"[… {count - LINES_SHOWN} more lines: they are all in .output of what run() gives …]"
    assert shown.output == "\n".join(numbers)
    assert Reader(shown._repr_html_()).text.count("\n") == LINES_SHOWN + 1
