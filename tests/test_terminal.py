"""What a person at a terminal expects of it: every kind of command, never a hang, and a prompt afterwards."""

import hashlib
import re
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from labkit import CommandTimeout, Interrupted, Lab, LabError, TerminalEnded, Unfinished
from tests.harness import comm, processes_of, wait_for_program, wait_until

TAKEN = "\x03\x1a\x1c\x11\x13"  # Ctrl-C, Ctrl-Z, Ctrl-\\, Ctrl-Q, Ctrl-S
STOPPED = "the terminal is at its prompt again"
LONGEST = 4095  # bytes that a line may have in canonical mode: termios(3)
JAIL = "\n".join(
    [
        "for file in /bin/bash /bin/sh $(ldd /bin/bash /bin/sh | grep -o '/[^ :]*'); do",
        "mkdir -p /tmp/jail${file%/*}; cp $file /tmp/jail$file",
        "done",
    ]
)


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def left(lab):
    return lab.left


def assert_usable(terminal):
    """A command runs, its own output is all that it shows, and it works in canonical mode with an echo."""
    check = terminal.run("echo usable; stty -a | grep -ow -e -icanon -e -echo")
    assert (check.output, check.status) == ("usable", 1)


# --- what is typed


def test_several_lines_are_several_commands(left):
    shown = left.run("cd /tmp\npwd\nfalse")
    assert str(shown) == (
        "root@server:~# cd /tmp\nroot@server:/tmp# pwd\n/tmp\nroot@server:/tmp# false\n[exit status 1]"
    )
    assert (shown.command, shown.output, shown.status) == ("cd /tmp\npwd\nfalse", "/tmp", 1)


def test_blank_lines_around_and_between_commands_type_nothing(left):
    assert str(left.run("\n\n  \necho one\n\n\necho two\n\n")) == (
        "root@server:~# echo one\none\nroot@server:~# echo two\ntwo"
    )


def test_an_empty_command_is_enter(left):
    assert str(left.run("")) == "root@server:~# "
    assert_usable(left)


def test_a_command_of_several_lines_is_shown_with_the_second_prompt(left):
    shown = left.run("for word in one two; do\n  echo $word\ndone\necho end")
    assert str(shown) == (
        "root@server:~# for word in one two; do\n>   echo $word\n> done\none\ntwo\nroot@server:~# echo end\nend"
    )


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("cat <<EOF\none\n\n  two $((1 + 1))\nEOF", "one\n\n  two 2"),
        ("cat <<'EOF'\n$HOME `date` \\x\nEOF", "$HOME `date` \\x"),
        ("cat <<-EOF\n\tone\n\t\ttwo\n\tEOF", "one\ntwo"),
        ("cat <<EOF | tr a-z A-Z\nshout\nEOF", "SHOUT"),
        ("cat <<ONE; cat <<TWO\none\nONE\ntwo\nTWO", "one\ntwo"),
        ("cat > /tmp/file <<EOF\nkept\nEOF\ncat /tmp/file", "kept"),
    ],
)
def test_here_documents(left, command, output):
    shown = left.run(command)
    assert (shown.output, shown.status) == (output, 0)


def test_pipes_and_their_status(left):
    assert left.run("seq 10 | grep 1 | wc -l").output == "2"
    assert left.run("true | false").status == 1
    assert left.run("false | true").status == 0


@pytest.mark.parametrize("status", [0, 1, 2, 126, 127, 130, 255])
def test_the_status_is_the_shells(left, status):
    shown = left.run(f"(exit {status})")
    assert shown.status == status
    assert str(shown).endswith(f"[exit status {status}]" if status else f"{status})")


@pytest.mark.parametrize("shell", ["bash", "sh", "unshare -m /bin/bash", "env -i bash", "su"])
def test_a_command_that_started_a_shell_has_no_status_until_that_ends(left, shell):
    assert left.run(shell).status is None
    assert left.run("exit 7").status == 7


def test_tabs_and_control_characters_are_text(left):
    """Tab would complete a name, Ctrl-U would delete the line, Escape would wait for a key."""
    typed = [character for character in (*range(1, 32), 127) if chr(character) not in TAKEN + "\n"]
    shown = left.run(f"printf %s '{''.join(map(chr, typed))}' | od -An -v -tx1")
    assert [int(byte, 16) for byte in shown.output.split()] == typed


@pytest.mark.parametrize("key", TAKEN)
def test_keys_that_the_terminal_itself_takes_are_no_text(left, key):
    """Ctrl-V does not help: the kernel has made a signal of it, or stopped the output, before bash reads the Ctrl-V.
    What stands behind it on the line would be run as a command of its own.
    """
    with pytest.raises(ValueError, match="typed"):
        left.run(f"echo '{key}'; touch /tmp/typed", timeout=1)
    assert left.run("ls /tmp").output == ""


def test_any_unicode_and_any_byte_can_be_typed(left):
    assert left.run("echo 'größe 大きさ 🐧'").output == "größe 大きさ 🐧"
    assert left.run("printf '\udcff\udcfe' | od -An -tx1").output.strip() == "ff fe"


def test_history_expansion_does_not_change_what_is_typed(left):
    """A person who types `!` in double quotes gets bash's own answer, and the prompt after it."""
    left.run('echo "event!not"')
    assert_usable(left)


def test_a_line_longer_than_a_page_is_whole_in_bash(left):
    assert left.run(f"echo {'x' * 20000} | wc -c").output == "20001"


def test_a_line_too_long_for_canonical_mode_is_refused_and_nothing_is_lost(left):
    """sh has no line editor: the kernel keeps 4095 bytes of a line and would drop the rest without a word."""
    left.run("sh")
    longest = "echo " + "x" * (LONGEST - 5)
    assert left.run(longest).output == "x" * (LONGEST - 5)
    with pytest.raises(ValueError, match=f"takes {LONGEST} bytes a line"):
        left.run(longest + "x")
    with pytest.raises(ValueError, match=f"takes {LONGEST} bytes a line"):
        left.run("echo ü" + "ü" * (LONGEST // 2))
    assert left.run("echo next").output == "next"
    assert left.run("exit").status == 0
    assert_usable(left)


def test_a_too_long_line_after_others_leaves_a_usable_terminal(left):
    """The lines before it have run; the one that reads it is not left waiting."""
    with pytest.raises(ValueError, match=f"takes {LONGEST} bytes a line"):
        left.run(f"touch /tmp/before\ncat > /tmp/copy\n{'x' * (LONGEST + 1)}")
    assert left.run("ls /tmp/before", timeout=3).status == 0
    assert_usable(left)


def test_nul_can_not_be_typed(left):
    with pytest.raises(ValueError, match="can not be typed"):
        left.run("touch /tmp/typed\necho \0")
    assert left.run("ls /tmp").output == ""


# --- what is unfinished


@pytest.mark.parametrize("command", ["echo 'open", 'echo "open', "cat <<EOF\nno end", "for i in 1; do", "echo \\", "("])
def test_what_is_unfinished_is_given_up(left, command):
    with pytest.raises(Unfinished, match="waits for the rest of it"):
        left.run(command)
    assert_usable(left)


def test_what_is_unfinished_in_sh_is_given_up(left):
    left.run("sh")
    with pytest.raises(Unfinished):
        left.run("echo 'open")
    assert left.run("echo usable").output == "usable"


# --- what is shown


def test_output_without_a_final_newline(left):
    assert str(left.run("printf end")) == "root@server:~# printf end\nend"
    assert left.run("echo next").output == "next"


def test_ten_megabytes_are_complete(left):
    shown = left.run("seq 1400000", timeout=60)
    expected = "\n".join(map(str, range(1, 1400001)))
    assert len(expected) > 10_000_000
    assert hashlib.sha256(shown.output.encode()).digest() == hashlib.sha256(expected.encode()).digest()
    assert len(str(shown)) < 10_000
    assert "1399801 more lines" in str(shown) or "1399800 more lines" in str(shown)


def test_a_line_of_a_megabyte_is_complete(left):
    assert left.run("head -c 1000000 /dev/zero | tr '\\0' x").output == "x" * 1_000_000


@pytest.mark.parametrize(
    ("printf", "read"),
    [
        (r"\e[1;31mred\e[0m plain", "red plain"),
        (r"10%%\r20%%\r100%%\n", "100%"),
        (r"abc\b\bX\n", "aXc"),
        (r"one\e[2Dtwo\n", "otwo"),
        (r"gone\e[2J\e[Hleft\n", "left"),
        (r"\e]0;title\a\e]8;;http://example.org\e\\link\e]8;;\e\\\n", "link"),
        (r"tab\tstop\n", "tab     stop"),
        (r"bell\a\n", "bell"),
        (r"\xff\xfeinvalid\n", "\ufffd\ufffdinvalid"),
        (r"\e[?1049halternate\e[?1049l\n", None),
        (r"\e[999999999999m\e[;;;;H\e[>4;2m\e[?u\e(B\e#8", None),
        (r"\e]133;A\e\\\e]133;B\e\\\e]133;C\e\\\e]133;D;0\e\\fake\n", "fake"),
        (r"\e]133;D;5;aid=0123456789ab;pid=1\e\\fake\n", "fake"),
        (r"\e]133;D;5;aid=\e\\fake\n", "fake"),
        (r"\e]133;unfinished\n", None),
        (r"\e", ""),
    ],
)
def test_output_is_what_a_person_would_read(left, printf, read):
    """Also where it holds marks of another's shell: only the lab's own end a command."""
    shown = left.run(f"printf '{printf}'; sleep 0.1; (exit 3)")
    assert shown.status == 3
    assert read is None or shown.output == read
    assert_usable(left)


@pytest.mark.parametrize(
    "command", ["env", "cat /proc/self/environ", "set", "export -p", "declare -p", "cat ~/.bashrc"]
)
def test_what_shows_the_marks_own_definitions_is_no_mark(left, command):
    shown = left.run(f"{command}; (exit 3)")
    assert "MARK_A" in shown.output
    assert shown.status == 3
    left.run("sh")
    assert left.run(f"{command}; (exit 3)").status == 3
    assert left.run("echo next").output == "next"


def test_random_bytes_do_no_harm(left):
    """A binary file on the screen: whatever it switches on, the next command is read rightly."""
    assert left.run("head -c 20000 /dev/urandom").status == 0
    assert left.run("echo next").output == "next"


def test_clear_and_reset(left):
    assert left.run("echo gone; clear").output == ""
    assert_usable(left)


def test_background_jobs(left):
    """The prompt comes at once; what the job prints later belongs to nobody's command."""
    assert left.run("sleep 60 &").output.startswith("[1] ")
    assert left.run("jobs").output.split() == ["[1]+", "Running", "sleep", "60", "&"]
    assert left.run("kill %1; wait %1").status == 143
    assert_usable(left)


def test_a_background_job_that_prints_at_the_prompt_is_no_command(left):
    left.run("(while [ ! -e /tmp/go ]; do :; done; echo late; touch /tmp/gone) &")
    left.run("touch /tmp/go; while [ ! -e /tmp/gone ]; do :; done")
    left.run("wait")
    assert left.run("echo next").output == "next"


# --- what reads the terminal


def test_a_command_that_reads_gets_the_next_line(left):
    shown = left.run("read name\nlearner\necho hello $name")
    assert shown.output.split("\n")[-1] == "hello learner"
    assert shown.status == 0


def test_a_question_is_answered_by_the_next_lines(left):
    left.run("touch /tmp/a /tmp/b")
    left.run("rm -i /tmp/a /tmp/b\ny\nn")
    assert left.run("ls /tmp").output == "b"


def test_lines_after_a_command_that_does_not_read_wait_for_its_end(left):
    """They are not typed ahead: a program would find them in the terminal and take what is meant for the shell."""
    look = 'python3 -c "import select; print(select.select([0], [], [], 0)[0])"'
    assert left.run(f"sleep 0.3; {look}\necho second").output == "[]\nsecond"


def test_python_reads_the_next_lines(left):
    """Its line editor waits in select(2), not in read(2)."""
    shown = left.run("python3 -q\nprint(6 * 7)\nexit()", timeout=3)
    assert "42" in shown.output
    assert_usable(left)


def test_a_reader_with_nothing_to_read_says_that_it_waits(left):
    with pytest.raises(
        CommandTimeout, match=r"`cat` did not end within 0\.5 s\. It waits for somebody to type"
    ) as error:
        left.run("cat", timeout=0.5)
    assert STOPPED in str(error.value)
    assert_usable(left)


def test_a_command_that_does_not_read_is_not_said_to_wait(left):
    with pytest.raises(CommandTimeout) as error:
        left.run("sleep 60", timeout=0.5)
    assert "waits" not in str(error.value)


# --- full-screen programs


def installed(*names):
    return [name for name in names if shutil.which(name, path="/usr/bin:/bin")]


@pytest.mark.parametrize("program", installed("vim", "vi", "nano", "less", "more", "top"))
def test_a_full_screen_program_is_stopped_in_time(left, program):
    left.run("seq 1000 > /tmp/file")
    command = "top" if program == "top" else f"{program} /tmp/file"
    with pytest.raises(CommandTimeout, match=STOPPED) as error:
        left.run(command, timeout=1)
    assert error.value.transcript.output
    assert_usable(left)


@pytest.mark.parametrize("editor", installed("vim", "vi"))
def test_an_editor_is_driven_by_keys(left, editor):
    left.send(f"{editor} /tmp/file\n")
    wait_until("the editor runs", lambda: (comm(left.pid) or "").startswith("vi"))
    left.send("ihello\x1b:wq\n")
    wait_until("the shell prompts", lambda: repr(left).endswith("prompt"))
    assert left.run("cat /tmp/file").output == "hello"
    assert_usable(left)


# --- the end of a shell


def test_exit_says_so_and_names_the_way_back(lab):
    shown = lab.left.run("exit")
    assert shown.status is None
    assert str(shown).endswith('[the shell has ended: lab.open("left") starts a new one]')
    assert not lab.left.alive
    assert lab.right.alive
    with pytest.raises(TerminalEnded, match=r'lab\.open\("left"\) starts a new one'):
        lab.left.run("true")
    with pytest.raises(TerminalEnded):
        lab.left.send("true\n")
    lab.open("left")
    assert_usable(lab.left)


def test_exit_with_processes_left_behind(lab):
    """nohup'ed, in a session of its own, with the terminal open: the shell has ended all the same."""
    lab.left.run("(trap '' HUP; exec setsid sleep 60) &")
    shown = lab.left.run("exit", timeout=5)
    assert "the shell has ended" in str(shown)
    lab.open("left")
    assert_usable(lab.left)


def test_exit_of_a_nested_shell_gives_the_outer_one(left):
    left.run("bash\nunshare -m /bin/bash\nsh")
    assert left.run("exit 3").status == 3
    assert left.namespace.inode == int(left.run("stat -L -c %i /proc/$$/ns/mnt").output)
    assert left.run("exit 4").status == 4
    assert left.run("exit 5").status == 5
    assert_usable(left)


def test_a_nested_shell_that_is_killed_gives_the_outer_one(left):
    left.run("bash")
    assert left.run("kill -9 $$").status == 137
    assert_usable(left)


def test_what_ran_before_the_end_is_in_the_transcript(left):
    shown = left.run("echo before\nexit")
    assert "before" in shown.output
    assert "the shell has ended" in str(shown)


# --- what does not end


def test_a_timeout_keeps_what_was_printed(left):
    with pytest.raises(CommandTimeout, match=r"did not end within 0\.5 s\. It was stopped with Ctrl-C") as error:
        left.run("cd /tmp\necho early; sleep 60", timeout=0.5)
    assert error.value.transcript.output == "early"
    assert error.value.transcript.command == "cd /tmp\necho early; sleep 60"
    assert str(error.value.transcript).endswith("early\n[no end after 0.5 s]")
    assert_usable(left)


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("sleep 60", "Ctrl-C"),
        ("while :; do :; done", "Ctrl-C"),
        ("while :; do sleep 0.1; done", "Ctrl-C"),
        ("yes", "Ctrl-C"),
        ("stty -isig; sleep 60", "SIGINT"),
        ("sh -c 'trap \"\" INT; while :; do sleep 0.1; done'", "SIG"),
        ("sh -c 'trap \"\" INT TERM HUP QUIT; while :; do sleep 0.1; done'", "SIGKILL"),
        ("sleep 60 | sleep 60 | cat", "Ctrl-C"),
        ("unshare -m sleep 60", "Ctrl-C"),
        ("unshare -Urmpf --mount-proc sleep 60", "SIG"),
        ("setsid -w sleep 60", "Ctrl-C"),
        ("env -i bash --norc --noprofile", "SIG"),
        ("script -q -c 'sleep 60' /dev/null", ""),
    ],
)
def test_whatever_does_not_end_is_stopped_and_the_terminal_usable(left, command, how):
    with pytest.raises(CommandTimeout) as error:
        left.run(command, timeout=0.5)
    assert STOPPED in str(error.value)
    assert f"stopped with {how}" in str(error.value)
    assert left.run("echo usable").output == "usable"


def test_a_loop_of_the_shell_itself_that_ignores_ctrl_c(lab):
    """Each signal meets one `sleep` of it: the loop is bash, a process group of its own behind them. Whatever becomes
    of it, the answer is true, and the way back that it names is one.
    """
    with pytest.raises(CommandTimeout) as error:
        lab.left.run("trap '' INT; while :; do sleep 0.1; done", timeout=0.5)
    if STOPPED not in str(error.value):
        assert 'lab.open("left")' in str(error.value)
        assert not lab.left.alive
        lab.open("left")
    assert lab.left.run("echo usable", timeout=3).output == "usable"


def test_a_timeout_of_its_own(left):
    left.timeout = 0.3
    with pytest.raises(CommandTimeout, match=r"within 0\.3 s"):
        left.run("sleep 60")
    assert left.run("sleep 0.5; echo end", timeout=10).output == "end"


def test_a_busy_terminal_is_not_typed_into(left):
    left.send("sleep 60\n")
    wait_for_program(left, "sleep")
    with pytest.raises(CommandTimeout, match=r"left is busy: sleep .* runs in it; nothing was typed") as error:
        left.run("touch /tmp/typed", timeout=0.5)
    assert str(error.value.transcript).endswith("[not typed]")
    left.interrupt()
    assert left.run("ls /tmp").output == ""


def test_run_waits_for_a_command_that_ends_in_time(left):
    left.send("read line\n")
    wait_until("read waits", lambda: repr(left).endswith("running"))
    threading.Timer(0.2, left.send, ["answer\n"]).start()
    assert left.run("echo $line").output == "answer"


def test_interrupt_ends_what_runs(left):
    left.send("sleep 60\n")
    wait_for_program(left, "sleep")
    left.interrupt()
    assert left.run("echo $?").output == "130"


def test_interrupt_at_the_prompt_gives_a_new_prompt(left):
    left.interrupt()
    assert_usable(left)


def test_interrupt_amid_typing_gives_a_new_prompt(left):
    """A Ctrl-C that comes while bash's line editor still draws what was typed makes it forget to draw the next prompt,
    about once in twenty times: then there is no mark either, and the kernel has to be asked who waits for keys.
    """
    for _ in range(40):
        left.send("half a command")
        left.interrupt()
        assert left.run("echo usable", timeout=2).output == "usable"


@pytest.mark.parametrize("keys", ["abc\x04", "abc\x16\n", "\x1b[200~abc\n\x1b[201~"])
def test_keys_that_only_look_like_enter(left, keys):
    """Ctrl-D after text, a quoted newline, a pasted one: the line editor keeps the line, and no command runs. Where
    the terminal is said to be busy, the way out that is named is one.
    """
    left.send(keys)
    try:
        assert left.run("", timeout=0.3).status is not None
    except CommandTimeout as error:
        assert "Try .interrupt()" in str(error)  # noqa: PT017
        left.interrupt()
    assert_usable(left)


def test_ctrl_c_in_the_notebook_reaches_the_command(left):
    """A notebook's stop button is SIGINT to the kernel process: KeyboardInterrupt in its main thread."""

    def press():
        wait_for_program(left, "sleep")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(Interrupted) as error:
        left.run("echo first\necho early; sleep 60\necho never")
    thread.join()
    assert isinstance(error.value, KeyboardInterrupt)
    assert error.value.transcript.output == "first\nearly\n^C"
    assert str(error.value.transcript).endswith("early\n^C\n[interrupted]")
    assert_usable(left)


def test_ctrl_c_in_the_notebook_while_the_terminal_is_busy(left):
    """Nothing was typed, so that nothing is stopped: the other command goes on."""
    left.send("sleep 60\n")
    wait_for_program(left, "sleep")
    threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        left.run("touch /tmp/typed")
    assert comm(left.pid) == "sleep"
    left.interrupt()
    assert left.run("ls /tmp").output == ""


def test_keys_that_nobody_reads_are_an_error_not_a_hang(left):
    """The kernel takes 4095 bytes for a program that reads none."""
    left.timeout = 0.5
    left.send("stty raw; sleep 60\n")
    wait_for_program(left, "sleep")
    with pytest.raises(LabError, match="takes no more keys"):
        left.send("x" * 200_000)


def test_two_threads_in_one_terminal_take_turns(left):
    """Each gets the whole output of its own command."""

    def echo(number):
        return left.run(f"echo {number}; sleep 0.0{number % 3}; echo {number}").output

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(echo, range(40))) == [f"{number}\n{number}" for number in range(40)]


def test_two_terminals_work_at_the_same_time(lab):
    """The one waits for the other."""
    with ThreadPoolExecutor(2) as pool:
        waits = pool.submit(lab.left.run, "while [ ! -e /tmp/go ]; do :; done; echo went")
        assert lab.right.run("touch /tmp/go").status == 0
        assert waits.result(timeout=10).output == "went"


# --- marks survive


@pytest.mark.parametrize(
    ("start", "inside"),
    [
        ("unshare -m /bin/bash", "unshare"),
        ("unshare -Urm", "unshare"),
        ("unshare -pf --mount-proc", "unshare"),
        ("bash", ""),
        ("bash --norc", ""),
        ("bash --login", ""),
        ("bash --posix", ""),
        ("/bin/bash -i", ""),
        ("sh", ""),
        ("dash", ""),
        ("su", ""),
        ("su -", ""),
        ("su - root", ""),
        ("env -i bash", ""),
        ("env -i HOME=/root bash", ""),
        ("chroot / /bin/bash", ""),
        ("chroot /tmp/jail /bin/sh", "chroot"),
        ("chroot /tmp/jail /bin/bash", "chroot"),
        ("chroot /tmp/jail /bin/bash --norc", "chroot"),
        ("chroot /tmp/jail", "chroot"),
        ("nsenter --mount=/proc/1/ns/mnt /bin/bash", ""),
        ("unshare -m chroot /tmp/jail /bin/sh", "unshare chroot"),
    ],
)
def test_marks_survive_another_shell(left, start, inside):
    """run() knows when a command in it is done, its status, and when the shell itself is."""
    left.run(JAIL, timeout=10)
    outer = left.namespace
    assert left.run(start, timeout=5).status is None
    for _ in range(2):
        shown = left.run("echo inside; (exit 3)", timeout=5)
        assert (shown.output, shown.status) == ("inside", 3)
        assert left.run("echo 'two\nlines'", timeout=5).output == "two\nlines"
    assert (left.namespace != outer) == ("unshare" in inside)
    assert left.run("[ -e /usr/bin/env ]", timeout=5).status == ("chroot" in inside)
    assert left.run("exit 4", timeout=5).status == 4
    assert left.namespace == outer
    assert_usable(left)


@pytest.mark.parametrize(
    "start", ["exec bash", "exec sh", "exec unshare -m /bin/bash", "exec env -i bash", "exec su -"]
)
def test_marks_survive_exec(lab, start):
    lab.left.run(start, timeout=5)
    shown = lab.left.run("echo inside; (exit 3)", timeout=5)
    assert (shown.output, shown.status) == ("inside", 3)
    assert "the shell has ended" in str(lab.left.run("exit", timeout=5))


@pytest.mark.parametrize(
    ("change", "prompt"),
    [
        ("PS1='> '", "> "),
        (r"PS1='\[\e[1;32m\]\u\[\e[0m\] \$ '", "root # "),
        ("PS1='two\nlines# '", None),
        ("PS1=", ""),
        ("unset PS1", None),
        ("PS2='... '", None),
        ("unset PS0", None),
        ("cd /usr/share", "root@server:/usr/share# "),
        ("set -o vi", None),
        ("set -u", None),
        ("set -o posix", None),
        ("set -T; trap 'true' DEBUG", None),
        ("trap 'false' ERR", None),
        ("IFS=/", None),
        ("LC_ALL=C", None),
        ("TERM=dumb", None),
        ("unset TERM", None),
        ("unset HOSTNAME HOME PWD", None),
        ("shopt -s extglob nullglob", None),
        ("bind 'set enable-bracketed-paste off'", None),
        ("stty raw -echo", None),
        ("stty -icanon -isig -iexten min 0", None),
        ("stty rows 2 columns 5", None),
        ("umask 777", None),
        ("ulimit -f 0", None),
        ("enable -n printf", None),
        ("umount -l /proc", None),
        ("umount -l /dev/pts", None),
        ("mount -t tmpfs tmpfs /dev", None),
        ("rm -r ~", None),
        ("hostname other", None),
    ],
)
def test_marks_survive_what_a_learner_sets(left, change, prompt):
    assert left.run(change, timeout=5).status is not None
    shown = left.run("echo usable; (exit 3)", timeout=5)
    assert (shown.output.split("\n")[-1], shown.status) == ("usable", 3)
    if prompt is not None:
        assert str(shown).startswith(f"{prompt}echo usable")
    assert left.run("cat <<EOF\ndocument\nEOF", timeout=2).output.endswith("document")


def test_set_x_traces_the_learners_commands_alone(left):
    left.run("set -x")
    assert left.run("echo usable").output == "+ echo usable\nusable"


@pytest.mark.parametrize("change", ["PROMPT_COMMAND=; PS1='bare> '", "shopt -u promptvars", "exec 2> /tmp/errors"])
def test_a_shell_robbed_of_its_marks_is_no_hang(lab, change):
    """It is stopped after the timeout as anything is that does not end, and the answer names the way back."""
    try:
        lab.left.run(change, timeout=0.5)
        lab.left.run("true", timeout=0.5)
    except CommandTimeout as error:
        assert 'lab.open("left")' in str(error) or STOPPED in str(error)  # noqa: PT017
    if not lab.left.alive:
        lab.open("left")
    assert_usable(lab.left)


def test_a_shell_in_a_namespace_of_its_own_pids_is_told_from_the_outer_one(left):
    """Both may be pid 2, or 1, in their PID namespaces."""
    left.run("unshare -pf --mount-proc /bin/bash")
    left.run("unshare -pf --mount-proc /bin/bash")
    assert left.run("echo $$").output == "1"
    assert left.run("exit 5").status == 5
    assert left.run("exit 6").status == 6
    assert_usable(left)


def test_a_terminal_leaves_no_process_behind(lab):
    before = sorted(processes_of(lab))
    for _ in range(3):
        lab.left.run("bash\nsleep 60 &\nexit\nkill $(pidof sleep)")
    wait_until("they have been reaped", lambda: len(processes_of(lab)) == len(before))
    assert sorted(processes_of(lab)) == before


def test_what_is_wider_than_the_terminal_wraps_at_its_width():
    """A terminal of 120 columns shows 100 digits in a line; the colour sends them through the emulator."""
    with Lab(columns=120, rows=10) as lab:
        assert lab.left.run("stty size").output == "10 120"
        assert lab.left.run(r"printf '\e[31m%0100d\e[m\n' 7").output == "7".rjust(100, "0")


def test_what_is_not_kept_is_said_to_be_missing(left):
    """Of more than 16 MiB the end is kept."""
    shown = left.run("yes 0123456789 | head -c 20000000; echo; echo end")
    first, *_, last = shown.output.splitlines()
    dropped = int(re.fullmatch(r"\[(\d+) bytes before this are not kept\]", first)[1])
    assert last == "end"
    assert 20_000_000 - dropped <= 16 << 20
    assert dropped < 6_000_000


ORPHAN = """
import os, signal
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
reader, writer = os.pipe()
if not (pid := os.fork()):
    os.read(reader, 1)
    os._exit(0)
os.setpgid(pid, pid)
os.tcsetpgrp(0, pid)
os.write(writer, b"x")
os.waitpid(pid, 0)
open("/tmp/done", "w")
signal.pause()
"""


def test_between_two_commands_a_terminal_is_where_its_last_shell_is(lab):
    """A command has ended, and the shell has not taken the terminal back: its foreground group is nobody's."""
    lab.left.run("unshare -m /bin/bash")
    lab.left.run(f"cat > /tmp/orphan.py <<'END'{ORPHAN}END")
    lab.left.send("python3 /tmp/orphan.py\n")
    wait_until("nobody is in the foreground", lambda: lab.right.run("ls /tmp/done").status == 0)
    assert (lab.left.label, comm(lab.left.pid)) == ("B", "bash")
    assert lab.right.label == "A"


def test_a_shell_that_is_slow_to_begin_is_not_fed_the_next_line(lab, monkeypatch):
    """On a busy machine a line may be long on its way; the shell still waits for keys then, as a program does."""
    stream = lab.left._stream
    write = stream.write
    delayed = []

    def late(keys, seconds):
        monkeypatch.undo()
        delayed.append(threading.Timer(0.2, write, (keys, seconds)))
        delayed[0].start()
        return True

    monkeypatch.setattr(stream, "write", late)
    done = [(each.command, each.output, each.status) for each in lab.left.each("echo one\nfalse\necho three")]
    assert done == [("echo one", "one", 0), ("false", "", 1), ("echo three", "three", 0)]
    assert len(delayed) == 1
