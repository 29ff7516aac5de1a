"""A prediction as a learner makes it: with the mouse, and with the keyboard alone."""

QUESTION = 'who = lab.predict("Who sees /mnt?", {"left <only>": {"left"}, "both": {"left", "right"}})\nwho'
STEP = "%%left\nunshare -m /bin/bash\nmount -t tmpfs tmpfs /mnt"
DECIDE = 'who.decide(lab.who_sees("/mnt"), "It is private.")'


def test_a_prediction_by_mouse_and_by_keyboard(book):
    opened = book(QUESTION, STEP, DECIDE)
    page = opened.page
    opened.run(1)
    page.wait_for_selector("text=Who sees /mnt?")
    page.get_by_label("both").check()
    page.get_by_label("both").focus()
    page.keyboard.press("ArrowUp")
    assert page.get_by_label("left <only>").is_checked()
    opened.run(2)
    opened.wait_for_cell(2)
    opened.run(3)
    opened.wait_for_cell(3)
    page.wait_for_selector("text=It is: left <only>. As you predicted.")
    opened.wait("[...document.querySelectorAll('fieldset input')].every(each => each.disabled)")
