"""labkit.marks beside a regular expression, on streams cut anywhere; no byte of the output is ever lost."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit.marks import END, LONGEST, START, Mark, MarkParser

AID = "a1b2c3"
MINE = f"aid={AID};pid=7".encode()


def mark(body: str, aid: str = AID, pid: object = 7) -> bytes:
    """A mark as the lab's shells write it."""
    return START + f"{body};aid={aid};pid={pid}".encode() + END


def pieces(*reads: bytes) -> list[bytes | Mark]:
    """What the parser makes of the reads: its marks, and between them the text in one piece."""
    parser = MarkParser(AID)
    joined: list[bytes | Mark] = []
    for read in reads:
        for piece in parser.feed(read):
            assert piece
            if isinstance(piece, bytes) and joined and isinstance(joined[-1], bytes):
                joined[-1] += piece
            else:
                joined.append(piece)
    return joined


def expected(stream: bytes) -> list[bytes | str]:
    """The same by a regular expression: printable text from the start of a mark to its end."""
    found: list[bytes | str] = [b""]
    begin = 0
    for match in re.finditer(rb"\x1b\]133;(?:([ABC])|D;[0-9]+)((?:;[ -:<-~]*)*)\x07", stream):
        if match[2].endswith(b";" + MINE) and len(match[0]) <= LONGEST:
            found[-1:] = [found[-1] + stream[begin : match.start()], (match[1] or b"D").decode(), b""]
            begin = match.end()
    found[-1] += stream[begin:]
    return [each for each in found if each]


def short(found: list[bytes | Mark]) -> list[bytes | str]:
    return [piece if isinstance(piece, bytes) else piece.letter for piece in found]


PARTS = [
    b"\x1b",
    b"\x1b]",
    START,
    START + b"D;0",
    START + b"A;" + MINE,
    END,
    b"\x1b\\",
    b";" + MINE,
    mark("A"),
    mark("B"),
    mark("C"),
    mark("D;0"),
    mark("A;k=s"),
    mark("D;1", aid="foreign"),
    mark("D"),
    mark("X"),
    mark("A", aid=AID + "0"),
    mark("A", pid="$$"),
    START + b"A" + END,
    START + b"A;cl=m\x1b\\",
    b"\x1b[31mred\x1b[m\r\n",
    b"x" * 90,
    "é".encode(),
]
streams = st.lists(st.sampled_from(PARTS) | st.binary(max_size=4), max_size=12).map(b"".join)


@settings(deadline=None)  # a shared machine may be slow
@given(streams)
@example(b"out" + START + b"A;" + mark("D;1") + b"$ ")
@example(b"out" + START + b"A;cl=m\x1b\\ text " + mark("D;1") + b"$ ")
@example(START + b"A;" + b"x" * 240 + b";" + MINE + END)
def test_every_mark_is_found_and_every_other_byte_is_output(stream: bytes) -> None:
    """Text closes the stream, so that nothing is held back as the beginning of a mark.

    The examples: a mark of another program that is broken off, or ended with ESC \\ as xterm allows, swallows none of
    ours.
    """
    closed = stream + b"\n"
    assert short(pieces(closed)) == expected(closed)


@settings(deadline=None)
@given(streams, st.lists(st.integers(0, 400), max_size=20))
@example(START + b"A;" + b"x" * 300 + b";" + MINE + END, [260])
def test_it_does_not_matter_how_a_stream_is_cut(stream: bytes, cuts: list[int]) -> None:
    closed = stream + b"\n"
    places = [0, *sorted(min(cut, len(closed)) for cut in cuts), len(closed)]
    reads = [closed[begin:end] for begin, end in pairwise(places)]
    assert pieces(*reads) == pieces(closed)
    assert pieces(*(closed[place : place + 1] for place in range(len(closed)))) == pieces(closed)


def test_a_mark_in_single_bytes_is_one_mark() -> None:
    stream = b"before" + mark("D;3", pid=42) + b"after"
    assert pieces(*(bytes([byte]) for byte in stream)) == [b"before", Mark("D", shell=42, status=3), b"after"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("A", Mark("A", 7)),
        ("A;k=s", Mark("A", 7, secondary=True)),
        ("A;k=i", Mark("A", 7)),
        ("B", Mark("B", 7)),
        ("C", Mark("C", 7)),
        ("D;0", Mark("D", 7, status=0)),
        ("D;130", Mark("D", 7, status=130)),
        ("D;0;unknown=1;flag;=;a=b=c", Mark("D", 7, status=0)),
        ("C;4", Mark("C", 7)),
    ],
)
def test_what_a_mark_says(body: str, found: Mark) -> None:
    """As in the specification of FinalTerm's marks; fields that are not known are left alone."""
    assert pieces(mark(body)) == [found]


@pytest.mark.parametrize(
    "stream",
    [
        START + b"A" + END,
        START + b"A;aid=" + AID.encode() + END,
        START + b"A;pid=7" + END,
        mark("A", aid="other"),
        mark("A", aid=AID.upper()),
        mark("A", aid=AID[:-1]),
        mark("A", aid=""),
        mark("A", pid="$$"),
        mark("A", pid=""),
        mark("A", pid="-7"),
        mark("A", pid="\u0667"),
        START + b"A;x" + MINE + END,
        mark("D"),
        mark("D;"),
        mark("D;-1"),
        mark("D;1x"),
        mark("D;status=0"),
        mark("E"),
        mark("AA"),
        mark(""),
        mark("a"),
        mark("\u00c0"),
        START + b"A;" + MINE + b"\x1b\\",
        START + b"A;\n" + MINE + END,
        START + END,
        b"\x1b]134;A;" + MINE + END,
        b"\x1b133;A;" + MINE + END,
        START + b"A;" + b"x" * LONGEST + b";" + MINE + END,
    ],
)
def test_what_is_no_mark_of_ours_is_output(stream: bytes) -> None:
    """So a file that holds marks, of this lab's past or of another's, can be printed without harm; `env` shows $$."""
    assert pieces(b"a" + stream + b"\n") == [b"a" + stream + b"\n"]


def test_a_mark_may_be_as_long_as_said_and_no_longer() -> None:
    """LONGEST, START and END counted in."""
    filling = b"x" * (LONGEST - len(mark("A")) - 1)
    longest = START + b"A;" + filling + b";" + MINE + END
    assert len(longest) == LONGEST
    assert pieces(longest) == [Mark("A", 7)]
    longer = START + b"A;x" + filling + b";" + MINE + END
    assert pieces(longer, b"\n") == [longer + b"\n"]


def test_the_beginning_of_a_mark_waits_for_its_rest_and_nothing_else_does() -> None:
    """A command that waits for keys has printed a question: it must be seen at once."""
    parser = MarkParser(AID)
    assert b"".join(parser.feed(b"Name? \x1b[0m")) == b"Name? \x1b[0m"  # type: ignore[arg-type]
    whole = mark("B")
    for cut in range(1, len(whole)):
        parser = MarkParser(AID)
        assert list(parser.feed(b"text" + whole[:cut])) == [b"text"]
        assert list(parser.feed(whole[cut:])) == [Mark("B", 7)]


def test_no_more_is_held_back_than_the_longest_mark() -> None:
    parser = MarkParser(AID)
    held = START + b"A;" + b"x" * (LONGEST - len(START) - 3)
    assert list(parser.feed(held)) == []
    assert b"".join(parser.feed(b"x")) == held + b"x"  # type: ignore[arg-type]


def test_marks_without_anything_between() -> None:
    stream = mark("D;0") + mark("A") + mark("B")
    assert pieces(stream) == [Mark("D", 7, status=0), Mark("A", 7), Mark("B", 7)]


def test_an_empty_read_is_nothing() -> None:
    assert pieces(b"", b"", b"x", b"") == [b"x"]


def test_a_megabyte_of_beginnings_is_read_in_one_pass() -> None:
    """Every one of them could be a mark: were the rest looked at for each, this would take hours."""
    data = START * 200_000 + b"\n"
    assert b"".join(MarkParser(AID).feed(data)) == data  # type: ignore[arg-type]
