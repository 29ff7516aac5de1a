"""The learner's copy of the lessons: what it lacks comes, what was not touched is renewed, what was changed is kept."""

import json
import os
import subprocess
import sys

import pytest

from labkit import lessons


def write(path, source):
    """A lesson with one cell that was run, as the kit has them and as JupyterLab saves them."""
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": [source],
        "execution_count": 3,
        "outputs": [OUTPUT],
    }
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


OUTPUT = {"output_type": "stream", "name": "stdout", "text": ["the answer"]}


@pytest.fixture
def kit(monkeypatch, tmp_path):
    """A kit with two lessons, as a wheel has them: inside the package."""
    notebooks = tmp_path / "site-packages" / "labkit" / "notebooks"
    notebooks.mkdir(parents=True)
    monkeypatch.setattr(lessons, "PACKAGE", notebooks.parent)
    (notebooks / "sanitize.cfg").write_text("for `labkit verify` alone")
    for name in ("00.ipynb", "01.ipynb"):
        write(notebooks / name, f"lesson {name}")
    return notebooks


@pytest.fixture
def mine(kit, tmp_path):
    """A learner's copy of it."""
    lessons.bring(tmp_path / "mine")
    return tmp_path / "mine"


def contents(directory):
    """What is written in each lesson's cell."""
    cells = {path.name: json.loads(path.read_text())["cells"] for path in directory.glob("*.ipynb")}
    return {name: "".join(cell["source"]) for name, [cell] in cells.items()}


def test_a_clone_has_them_beside_the_package():
    assert lessons.source() == lessons.PACKAGE.parent / "notebooks"
    assert (lessons.source() / "00-start-here.ipynb").is_file()


def test_on_first_use_all_are_copied(kit, tmp_path):
    news = lessons.bring(tmp_path / "new" / "mine")
    assert contents(tmp_path / "new" / "mine") == {"00.ipynb": "lesson 00.ipynb", "01.ipynb": "lesson 01.ipynb"}
    assert str(news) == f"The lessons were copied to {tmp_path}/new/mine."


def test_the_second_time_nothing_is_new(mine):
    before = {path: path.stat().st_mtime_ns for path in mine.iterdir()}
    assert str(lessons.bring(mine)) == f"The lessons are in {mine}."
    assert {path: path.stat().st_mtime_ns for path in mine.iterdir()} == before


def test_what_was_changed_is_kept_and_what_was_not_is_renewed(kit, mine):
    write(mine / "00.ipynb", "the learner's answers")
    write(mine / "own.ipynb", "a notebook of their own")
    for name in ("00.ipynb", "01.ipynb"):
        write(kit / name, f"newer {name}")
    write(kit / "02.ipynb", "another lesson")
    for _ in range(2):
        news = lessons.bring(mine)
        assert contents(mine) == {
            "00.ipynb": "the learner's answers",
            "01.ipynb": "newer 01.ipynb",
            "02.ipynb": "another lesson",
            "own.ipynb": "a notebook of their own",
        }
        assert news.kept == ["00.ipynb"]
        assert "Kept as they are, though the kit has newer ones: 00.ipynb" in str(news)
    assert (news.added, news.renewed) == ([], [])  # that was news the first time


def test_a_copy_gives_no_answer_away(mine):
    """Before a cell is run, nothing stands below it."""
    [cell] = json.loads((mine / "00.ipynb").read_text())["cells"]
    assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_opened_and_run_is_not_changed(kit, mine):
    """JupyterLab notes Python's version in a notebook as soon as it is opened, and saves by itself."""
    lesson = json.loads((mine / "00.ipynb").read_text())
    lesson["metadata"]["language_info"] = {"name": "python", "version": "3.13.5"}
    lesson["cells"][0] |= {"execution_count": 1, "outputs": [OUTPUT], "source": "lesson 00.ipynb"}
    (mine / "00.ipynb").write_text(json.dumps(lesson))
    before = (mine / "00.ipynb").read_text()
    assert str(lessons.bring(mine)) == f"The lessons are in {mine}."
    assert (mine / "00.ipynb").read_text() == before  # and what it printed is there until there is a newer one
    write(kit / "00.ipynb", "newer")
    assert lessons.bring(mine).renewed == ["00.ipynb"]
    assert contents(mine)["00.ipynb"] == "newer"


@pytest.mark.parametrize("content", ["", "no notebook", "[]", '{"cells": 3}', '{"cells": [{"source": "x"}]}'])
def test_what_is_no_notebook_is_the_learners(mine, content):
    (mine / "00.ipynb").write_text(content)
    assert lessons.bring(mine).kept == []
    assert (mine / "00.ipynb").read_text() == content


def test_changed_without_a_newer_one_is_no_news(mine):
    write(mine / "00.ipynb", "the learner's answers")
    assert str(lessons.bring(mine)) == f"The lessons are in {mine}."
    assert contents(mine)["00.ipynb"] == "the learner's answers"


def test_a_renamed_one_makes_place_for_the_newer_one(kit, mine):
    """As the message advises."""
    (mine / "00.ipynb").rename(mine / "my 00.ipynb")
    write(kit / "00.ipynb", "newer")
    news = lessons.bring(mine)
    assert contents(mine) == {"my 00.ipynb": "lesson 00.ipynb", "00.ipynb": "newer", "01.ipynb": "lesson 01.ipynb"}
    assert "Copied, since they were not there: 00.ipynb." in str(news)


def test_a_file_of_the_same_name_that_was_there_before_is_the_learners(kit, tmp_path):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "01.ipynb", "something else")
    news = lessons.bring(tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"00.ipynb": "lesson 00.ipynb", "01.ipynb": "something else"}
    assert news.kept == ["01.ipynb"]
    assert str(news).startswith(f"The lessons are in {tmp_path}/mine.\nCopied, since they were not there: 00.ipynb.")
    assert "Kept as they are" in str(news)


@pytest.mark.parametrize("spoilt", ["", "no JSON", "[1]", '{"00.ipynb": 3}'])
def test_with_a_spoilt_record_nothing_is_written_over(kit, mine, spoilt):
    (mine / lessons.RECORD).write_text(spoilt)
    write(mine / "00.ipynb", "the learner's answers")
    write(kit / "01.ipynb", "newer")
    before = contents(mine)
    news = lessons.bring(mine)
    assert news.kept == ["00.ipynb", "01.ipynb"]
    assert contents(mine) == before
    assert str(news).startswith(f"The lessons are in {mine}.\nKept as they are, though the kit has newer ones: 00")


def test_a_lesson_that_is_a_link_is_the_learners(kit, mine, tmp_path):
    """Into a repository of their own, say."""
    (mine / "00.ipynb").rename(tmp_path / "theirs")
    (mine / "00.ipynb").symlink_to(tmp_path / "theirs")
    write(kit / "00.ipynb", "newer")
    assert lessons.bring(mine).kept == ["00.ipynb"]
    assert (mine / "00.ipynb").is_symlink()
    assert "lesson 00.ipynb" in (tmp_path / "theirs").read_text()


def test_a_clone_can_be_worked_on_itself(kit):
    """`labkit start notebooks`, for whoever writes lessons: no copy, no record."""
    news = lessons.bring(kit)
    assert str(news) == f"The lessons are in {kit}."
    assert not (kit / lessons.RECORD).exists()


def test_an_interrupted_copy_leaves_the_old_file_and_no_part_of_the_new_one(kit, mine, monkeypatch):
    """As where the disk is full; the real one is in test_cli.py."""
    write(kit / "00.ipynb", "newer")
    before = contents(mine)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lessons.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        lessons.bring(mine)
    assert contents(mine) == before
    assert sorted(json.loads((mine / lessons.RECORD).read_text())) == ["00.ipynb", "01.ipynb"]


def test_what_an_interrupted_copy_brought_is_renewed_later(kit, tmp_path, monkeypatch):
    """It is known as the kit's own, and not taken for a learner's."""
    replace, full = os.replace, OSError(28, "No space left on device")

    def half_full(source, target):
        if target.name == "01.ipynb":
            raise full
        replace(source, target)

    monkeypatch.setattr(lessons.os, "replace", half_full)
    with pytest.raises(OSError, match="No space left"):
        lessons.bring(tmp_path / "mine")
    monkeypatch.undo()
    monkeypatch.setattr(lessons, "PACKAGE", kit.parent)
    write(kit / "00.ipynb", "newer")
    news = lessons.bring(tmp_path / "mine")
    assert (news.added, news.renewed, news.kept) == (["01.ipynb"], ["00.ipynb"], [])


def test_two_starts_at_once_copy_both(kit, tmp_path):
    """Each process writes beside the lesson in a file of its own."""
    program = (
        "import sys; from pathlib import Path; from labkit import lessons; lessons.PACKAGE = Path(sys.argv[1]);"
        "input(); lessons.bring(Path(sys.argv[2]))"
    )
    for number in range(40):
        write(kit / f"{number}.ipynb", "x" * 100_000)
    command = [sys.executable, "-c", program, kit.parent, tmp_path / "mine"]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    assert [(each.communicate()[1], each.returncode) for each in both] == [("", 0)] * 2
    assert contents(tmp_path / "mine") == contents(kit)
