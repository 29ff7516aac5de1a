"""A prediction: committed to before the step, decided by what is observed after it."""

import pytest

from labkit import Lab, LabError
from labkit.prediction import Prediction

CHOICES = {"left only": {"left"}, "both": {"left", "right"}, "nobody": set()}


def test_the_real_state_decides():
    with Lab() as lab:
        who = lab.predict("Who sees it?", CHOICES)
        who.choose("both")
        lab.left.run("unshare -m /bin/bash")
        lab.left.run("mount -t tmpfs tmpfs /mnt")
        verdict = who.decide(lab.who_sees("/mnt"), "It is private.")
        assert str(verdict) == "It is: left only. You predicted: both.\nIt is private."
        with pytest.raises(LabError, match="decided already"):
            who.choose("left only")
        assert lab.who_sees("/") == {"left", "right"}


def test_a_click_is_a_choice():
    who = Prediction("Who?", CHOICES)
    who._form.set_state({"chosen": "nobody"})  # as a page sends it
    assert str(who.decide(frozenset())) == "It is: nobody. As you predicted."
    assert who._form.decided


def test_without_an_answer_it_goes_on():
    assert str(Prediction("How many?", {"none": 0, "some": 3}).decide(3)) == "It is: some. No prediction was made."


def test_what_fits_no_choice_is_said():
    with pytest.raises(LabError, match="none of the choices"):
        Prediction("How many?", {"none": 0, "some": 3}).decide(4)


@pytest.mark.parametrize("choices", [[], ["one"], "yes or no", {}])
def test_a_question_has_choices(choices):
    with pytest.raises(ValueError, match="two choices"):
        Prediction("Why?", choices)


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="'both', 'nobody'"):
        Prediction("Who?", CHOICES).choose("all")


def test_without_a_page_it_is_text():
    who = Prediction("Is 1 < 2?", ["<b>yes</b>", "no"])
    bundle = who._repr_mimebundle_()
    assert bundle["text/plain"] == "Is 1 < 2?\n  ( ) <b>yes</b>\n  ( ) no"
    assert "&lt;b&gt;" in bundle["text/html"]
    assert "<b>" not in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "&lt;b&gt;" in who.decide("<b>yes</b>", "<i>")._repr_html_()
