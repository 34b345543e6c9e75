from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.prompts.sentences import split_sentences

CASES = {
    "1. Mild cardiomegaly. 2. No pneumonia.": ["Mild cardiomegaly.", "No pneumonia."],
    "1. Low lung volumes 2. No effusion 3) Stable.": ["Low lung volumes", "No effusion", "Stable."],
    "1.Mild edema. 2.No effusion.": ["Mild edema.", "No effusion."],
    "A 1.5 cm nodule measures 2.0 x 1.3 cm. No effusion.": [
        "A 1.5 cm nodule measures 2.0 x 1.3 cm.",
        "No effusion.",
    ],
    "Discussed with Dr. ___ at 3:15 p.m. on ___. No change.": [
        "Discussed with Dr. ___ at 3:15 p.m. on ___.",
        "No change.",
    ],
    "Called to Dr. J. Smith. Clear lungs.": ["Called to Dr. J. Smith.", "Clear lungs."],
    "Called to Dr. J. S. Smith. Clear lungs.": ["Called to Dr. J. S. Smith.", "Clear lungs."],
    "Fluid on the R? mild edema.": ["Fluid on the R?", "mild edema."],
    "Lungs clear.There is no effusion.. Normal heart.": [
        "Lungs clear.",
        "There is no effusion..",
        "Normal heart.",
    ],
    "Fracture of rib 7. No effusion.": ["Fracture of rib 7.", "No effusion."],
    "Atelectasis vs. pneumonia. ___ unchanged.": ["Atelectasis vs. pneumonia.", "___ unchanged."],
    "cardiomegali . sin derram pleural .": ["cardiomegali .", "sin derram pleural ."],
    "St. Jude valve. The R. lung is clear.": ["St. Jude valve.", "The R. lung is clear."],
    "Nodule of 0.5-1.0 cm. ___M with cough.": ["Nodule of 0.5-1.0 cm.", "___M with cough."],
    "1. 5 mm nodule (ser. 2, im. 45). 2. 2.5 cm mass.": ["5 mm nodule (ser. 2, im. 45).", "2.5 cm mass."],
    "(1) Effusion. (2) Edema at T7-8.": ["Effusion.", "Edema at T7-8."],
    "Rib no. 5 fracture, i.e. lateral. Opacity is 10 x 2.5cm. New since 1.1.2012.": [
        "Rib no. 5 fracture, i.e. lateral.",
        "Opacity is 10 x 2.5cm.",
        "New since 1.1.2012.",
    ],
    "Line one\nLine two": ["Line one", "Line two"],
    "Is there a nodule? Yes.": ["Is there a nodule?", "Yes."],
    "Tip at T4. Clear.": ["Tip at T4.", "Clear."],
    "___. 12. . ": [],
    "": [],
}


@pytest.mark.parametrize("text", CASES)
def test_sentences(text):
    assert split_sentences(text) == CASES[text]


@given(st.text(alphabet="ab1 .\n_()!?-", max_size=60))
def test_letters_survive_in_order(text):
    letters = "".join(c for c in text if c.isalpha())
    assert "".join(c for s in split_sentences(text) for c in s if c.isalpha()) == letters


def test_marks_of_an_enumeration_separate_and_brackets_hold_together():
    assert split_sentences('Heights are preserved. " Emphysema "" Atelectasis." "Nodule?') == [
        "Heights are preserved.",
        "Emphysema",
        "Atelectasis.",
        "Nodule?",
    ]
    assert split_sentences("• Hiatal hernia • Emphysema") == ["Hiatal hernia", "Emphysema"]
    assert split_sentences("A mosaic pattern (airways?, vessels?) is seen. Next.") == [
        "A mosaic pattern (airways?, vessels?) is seen.",
        "Next.",
    ]
    assert split_sentences("Pneumonia? (See above.) Follow-up.")[0] == "Pneumonia?"
