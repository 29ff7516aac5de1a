"""labkit.emulator: what a person would read on the screen. Expectations are those of xterm, written down by hand."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit.emulator import MOST, text

RESET = b"\x1b[m"  # changes nothing that is read, and sends the data through the emulator


def lines(*each: str) -> bytes:
    return "\r\n".join(each).encode()


def test_plain_text_is_taken_as_it_is() -> None:
    assert text(b"one\r\ntwo\n  three\r\n\r\n") == "one\ntwo\n  three"
    assert text(b"") == ""


def test_a_line_longer_than_the_terminal_stays_whole() -> None:
    """Nothing else could be copied and pasted; only what goes through the emulator wraps."""
    assert text(b"x" * 200) == "x" * 200
    assert text(RESET + b"x" * 200) == "\n".join(["x" * 80, "x" * 80, "x" * 40])


def test_ten_megabytes_of_plain_text_stay_whole() -> None:
    data = b"0123456789abcde\n" * 655_360
    assert text(data) == data.decode().rstrip("\n")


plain = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x17F, blacklist_characters="\x7f\xad", blacklist_categories=["Cc"])
    | st.just("\t"),
    max_size=70,
)


@settings(deadline=None)
@given(st.lists(plain.map(lambda line: line.rstrip()), max_size=60))
def test_the_fast_way_gives_what_the_emulator_gives(written: list[str]) -> None:
    """Lines that fit the terminal, and that do not end in blanks, of which no terminal keeps a record."""
    written = [line for line in written if len(line.expandtabs()) <= 79]
    assert text(lines(*written)) == text(RESET + lines(*written))


@pytest.mark.parametrize(
    "line",
    ["字\tx", "name \u65e5\u672c\t1", "e\u0301\tx", "a\t字\tb\tc", "字 no tab", "soft\u00adhyphen"],
    ids=ascii,
)
def test_the_fast_way_agrees_on_characters_that_are_not_one_cell_wide(line: str) -> None:
    """A tab goes to the next multiple of eight cells: a Chinese character fills two, an accent that combines none."""
    assert text(lines(line, "next")) == text(RESET + lines(line, "next"))


@pytest.mark.parametrize(
    "line",
    ["ab\u200bcd", "\u2764\ufe0f heart", "\U0001f468\u200d\U0001f469 pair", "a\u2060b", "x \u200e y"],
    ids=ascii,
)
def test_a_character_without_width_takes_no_text_away(line: str) -> None:
    """`ls --color` of a file with an emoji in its name: the rest of the name, and of the line, must be there."""
    seen = text(RESET + lines(line + " and the rest", "next"))
    assert seen.endswith(" and the rest\nnext")
    assert [c for c in seen if c.isascii()] == [c for c in line + " and the rest\nnext" if c.isascii()]


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"12%\r34%\r100%\r\ndone", "100%\ndone"),
        (b"abc\rX", "Xbc"),
        (b"abc\b\bX", "aXc"),
        (b"abc\b \b\b \b", "a"),
        (b"ring\x07!", "ring!"),
        (b"a\0b", "ab"),
        (b"\x1b[1;31mred\x1b[0m and \x1b[38;5;200mpink\x1b[39;49m \x1b[38;2;1;2;3mrgb\x1b[m", "red and pink rgb"),
        (b"\x1b[38;5;300mX\x1b[38;5mY\x1b[38;2;1mZ\x1b[999m!", "XYZ!"),
        (b"one\r\ntwo\r\n\x1b[2A\x1b[2Kthree\r\n\x1b[1Bfour", "three\ntwo\nfour"),
        (b"wide\x1b[10Gcolumn", "wide     column"),
        (b"\x1b[3;5Hhere", "\n\n    here"),
        (b"before\x1b[2J\x1b[Hafter", "after"),
        (b"abcdef\x1b[3D\x1b[K", "abc"),
        (b"abcdef\x1b[6D\x1b[2P", "cdef"),
        (b"cd\r\x1b[2@ab", "abcd"),
        (b"\x1b7saved\x1b8SAV", "SAVed"),
        (b"a\tb\x1b[3gc", "a       bc"),
        (b"top\r\nmiddle\r\n\x1b[A\x1b[L", "top\n\nmiddle"),
        (b"\x1b]0;a title\x07text", "text"),
        (b"\x1b]2;a title\x1b\\text", "text"),
        (b"\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\ end", "link end"),
        (b"\x1b]133;A;aid=foreign\x1b\\$ ", "$ "),
        (b"\x1b[?2004htext\x1b[?2004l", "text"),
        (b"\x1b[?25l\x1b[?7h\x1b[4hx\x1b[4l", "x"),
        (b"\x1bcreset", "reset"),
    ],
)  # fmt: skip
def test_controls_do_what_they_do_on_a_terminal(data: bytes, seen: str) -> None:
    assert text(data) == seen


@pytest.mark.parametrize(
    "data",
    [
        b"\x1b[>4;2m", b"\x1b[1;2;3A", b"\x1b[?1A", b"\x1b[>c", b"\x1b[=0c", b"\x1b[?6n", b"\x1b[;;H", b"\x1b[?1;2H",
        b"\x1b[1;2;3;4;5r", b"\x1b[99999999999999999999B\x1b[999A", b"\x1b[?u", b"\x1b[>1u", b"\x1b[22;0;0t",
        b"\x1b[1;2;3J", b"\x1b[?K", b"\x1b[1;1;1g", b"\x1b[?1;2;3d", b"\x1b[!p", b"\x1b[?1$p", b"\x1b[ q",
    ],
)  # fmt: skip
def test_odd_parameters_do_no_harm(data: bytes) -> None:
    """vim, less and bash's own line editor send some of these; what pyte does not know, a terminal ignores."""
    assert text(b"before " + data + b"\r\x1b[Kafter").replace("q", "").split("\n")[-1].endswith("after")


SEQUENCES = st.builds(
    lambda *parts: b"".join(parts),
    st.sampled_from(
        [b"\x1b[", b"\x1b[?", b"\x1b[>", b"\x1b]", b"\x1b(", b"\x1b#", b"\x1b%", b"\x1b", b"\x9b", b"\x1bP"]
    ),
    st.lists(st.sampled_from([b"0", b"1", b"24", b"80", b"999999", b"-1", b"", b":3", b" "]), max_size=5).map(
        b";".join
    ),
    st.binary(max_size=1),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=20) | SEQUENCES, max_size=20).map(b"".join))
@example(b"\x1b[" + b"1" * 5000 + b"A")
@example(b"\x1b[" + b"1;" * 5000 + b"m")
@example("\x9b".encode() + b"1" * 5000 + b"A")
@example(b"\x1b[ " + b"1" * 5000 + b"A")
@example(b"\x1b[" + b"1\t" * 5000 + b"A")
@example(b"\x1b]" + b"x" * 5000)
def test_no_bytes_are_refused(data: bytes) -> None:
    """A command may print anything: `cat /bin/ls`. Python refuses to read an integer of more than 4300 digits."""
    assert isinstance(text(data), str)
    assert isinstance(text(RESET + data), str)


def test_what_scrolled_away_is_kept() -> None:
    """More lines than the terminal has, in the order in which they came, none twice."""
    numbered = [f"line {number}" for number in range(1000)]
    assert text(RESET + lines(*numbered)) == "\n".join(numbered)
    assert text(RESET + lines(*numbered), rows=5) == "\n".join(numbered)


def test_a_region_that_scrolls_leaves_no_copies() -> None:
    """A pager scrolls within margins (DECSTBM): what leaves them is gone, as on a terminal."""
    data = b"\x1b[2;3rhead\r\none\r\ntwo\r\nthree\r\nfour"
    assert text(data) == text(b"\x1b[mhead\r\nthree\r\nfour")


def test_a_region_down_to_the_last_line_leaves_no_copies_of_its_head() -> None:
    data = b"\x1b[2;4rhead\r\n" + lines(*map(str, range(20)))
    assert text(data, rows=4) == "head\n17\n18\n19"


def test_what_scrolls_out_of_the_top_is_kept_above_a_line_that_stays() -> None:
    """apt(8) keeps its progress bar on the last line so; xterm.js keeps what leaves a region that begins at the top."""
    data = b"\x1b[1;3r" + b"\x1b[4;1Hbar\x1b[1;1H" + lines(*map(str, range(20)))
    assert text(data, rows=4).split("\n") == [*map(str, range(20)), "bar"]


def test_it_wraps_at_the_terminals_own_width() -> None:
    assert text(RESET + b"x" * 100, columns=120) == "x" * 100
    assert text(RESET + b"abcdef", rows=2, columns=4) == "abcd\nef"


def test_bytes_that_are_not_utf_8_are_shown_as_such() -> None:
    assert text(b"a\xffb") == "a\ufffdb"
    assert text(RESET + b"a\xffb") == "a\ufffdb"


def test_a_cut_says_how_much_is_missing() -> None:
    """Only the emulator is too slow for it all: about a second a megabyte."""
    line = b"\x1b[32m" + b"g" * 58 + b"\r\n"
    data = line * (MOST // len(line) + 100)
    note, *rest = text(data).split("\n")
    assert note == f"[{len(data) - MOST} bytes before this are not shown]"
    assert rest[-1] == "g" * 58
    assert len(rest) == pytest.approx(MOST / len(line), abs=1)
