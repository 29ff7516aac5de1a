"""What was done in the terminals, by cells and by hand, in the order of time."""

import pytest

from labkit import Lab
from tests.harness import wait_until


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


def commands(lab):
    return [(each.terminal, each.label, each.command) for each in lab.transcript().commands]


def by_hand(terminal, keys, count):
    """Type, and wait until so many commands were noted."""
    terminal.press(keys)
    wait_until("the command is noted", lambda: len(terminal._journal.session([]).commands) == count)


def test_cells_and_hands_stand_in_the_order_of_time(lab):
    assert str(lab.transcript()) == "nothing was done in the terminals yet"
    lab.left.run("echo one")
    by_hand(lab.left, b"unshare -m /bin/bash\r", 2)
    by_hand(lab.left, b"echo 'two\rlines'\r", 3)
    lab.right.run("false")
    assert commands(lab) == [
        ("left", "A", "echo one"),
        ("left", "A", "unshare -m /bin/bash"),
        ("left", "B", "echo 'two\nlines'"),
        ("right", "A", "false"),
    ]
    assert str(lab.transcript(last=2)) == (
        "left B  | root@server:~# echo 'two\n        | > lines'\n        | two\n        | lines\n"
        "right A | root@server:~# false\n        | [exit status 1]"
    )


def test_a_line_is_noted_as_it_was_at_the_end(lab):
    lab.left.run("true")
    by_hand(lab.left, b"ecko\x7f\x7fho back\r", 2)
    by_hand(lab.left, b"echo " + b"long" * 40 + b"\r", 3)
    lab.left.press(b"\r")  # an empty line is no command
    by_hand(lab.left, b"false\r", 4)
    noted = lab.transcript().commands
    assert [each.command for each in noted[1:]] == ["echo back", "echo " + "long" * 40, "false"]
    assert noted[-1].status == 1


def test_what_a_cell_sends_is_noted_too(lab):
    lab.left.run("true")
    lab.left.send("echo sent\n")
    wait_until("it is noted", lambda: len(lab.transcript().commands) == 2)
    assert str(lab.transcript(last=1)) == "left A | root@server:~# echo sent\n       | sent"


def test_a_line_that_was_given_up_is_no_command_and_a_completed_one_is_whole(lab):
    lab.left.run("mkdir /tmp/directory")
    prompts = lab.left._stream.prompts
    lab.left.press(b"echo given up")
    wait_until("it is echoed", lambda: lab.left._stream._recent.endswith(b"given up"))
    lab.left.press(b"\x03")
    wait_until("there is another prompt", lambda: lab.left._stream.prompts == prompts + 1)
    by_hand(lab.left, b"cd /tmp/dire\t\r", 2)
    assert commands(lab)[1:] == [("left", "A", "cd /tmp/directory/")]
    assert lab.left.run("pwd").output == "/tmp/directory"


def test_commands_of_a_shell_in_the_shell_are_noted(lab):
    lab.left.run("true")
    by_hand(lab.left, b"sh\r", 2)
    by_hand(lab.left, b"echo $((6*7)) inside\r", 3)
    by_hand(lab.left, b"exit\r", 4)
    assert [command for *_, command in commands(lab)] == ["true", "sh", "echo $((6*7)) inside", "exit"]
    assert "42 inside" in str(lab.transcript())


def test_a_half_typed_line_is_put_aside_for_a_cell_and_comes_back(lab):
    left = lab.left
    left.run("true")
    left.press(b"echo half")
    wait_until("it is echoed", lambda: left._stream.text() == "" and b"half" in bytes(left._stream._recent))
    assert left.run("echo cell").output == "cell"
    left.press(b" and half\r")
    wait_until("it ran", lambda: "half and half" in [str(each).split("\n")[-1] for each in lab.transcript().commands])


def test_a_new_size_ends_no_command_and_shows_in_no_transcript(lab):
    """bash draws its prompt again at SIGWINCH, with the marks of the last one."""
    stream = lab.left._stream
    for number in range(60):
        stream.resize(60 + number % 40, 20 + number % 7)
        assert lab.left.run(f"echo {number}").output == str(number)
    assert lab.left.run("stty size").output == f"{20 + 59 % 7} {60 + 59 % 40}"


def test_little_is_kept_of_a_long_output_and_it_is_shown_safely(lab):
    lab.left.run("seq 1000000")
    lab.left.run("echo '<b>'")
    session = lab.transcript()
    assert len(str(session.commands[0])) < 5000
    html = session._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
