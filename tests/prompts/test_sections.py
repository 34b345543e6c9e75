from __future__ import annotations

import pytest

from benchmark.core.errors import DataError, UnknownName
from benchmark.prompts.sections import openi_report, report_sections, select, selected_text, text_sections

MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // pneumonia?

 COMPARISON:  ___

 FINDINGS:

 The lungs are hyperinflated but clear of
 confluent consolidation.  There is no effusion.

 The heart is enlarged.

 IMPRESSION:

 1. Mild cardiomegaly.
 2. No pneumonia.
"""


def test_sections_of_mimic_join_wrapped_lines_and_keep_paragraphs():
    sections = text_sections(MIMIC)
    assert list(sections) == ["examination", "indication", "comparison", "findings", "impression"]
    assert sections["findings"] == (
        "The lungs are hyperinflated but clear of confluent consolidation. There is no effusion.\n"
        "The heart is enlarged."
    )
    assert sections["indication"].startswith("___F with cough")


def test_last_section_that_is_not_empty_wins():
    text = "IMPRESSION: first.\n\nFINDINGS: a.\n\nIMPRESSION: second.\n\nIMPRESSION:\n"
    assert text_sections(text)["impression"] == "second."


@pytest.mark.parametrize(
    "head",
    [
        "FINDINGS AND IMPRESSION:",
        "IMPRESSION AND FINDINGS :",
        "FINDINGS/IMPRESSION:",
        "Findings and Impression:",
    ],
)
def test_merged_head_answers_to_both_names_once(head):
    sections = text_sections(f"{head} Clear lungs.")
    for rule in ("findings", "impression", "findings+impression"):
        assert select(sections, rule) == [("findings and impression", "Clear lungs.")]


def test_head_behind_a_full_stop_in_one_line():
    sections = text_sections("FINDINGS: Clear lungs. IMPRESSION: No pneumonia.")
    assert sections == {"findings": "Clear lungs.", "impression": "No pneumonia."}


def test_times_and_ratios_are_not_heads():
    assert text_sections(
        "FINDINGS: Tube placed at 10:30, ratio 1:2. IMPRESSION of the tip is unchanged."
    ) == {"findings": "Tube placed at 10:30, ratio 1:2. IMPRESSION of the tip is unchanged."}


def test_fallbacks_of_the_rules():
    assert select({"impression": "a"}, "findings") == [("impression", "a")]
    assert select({"": "intro\nlast paragraph", "technique": "t"}) == [("text", "last paragraph")]
    assert select({"": "one\ntwo"}) == [("text", "one\ntwo")]
    assert select({"comparison": "c", "technique": "t"}) == [("comparison", "c")]
    assert select({"technique": "t"}) == []
    assert select({"wet read": "w", "technique": "t"}) == [("wet read", "w")]


def test_unknown_rule_suggests():
    with pytest.raises(UnknownName, match="impression"):
        select({}, "impresion")


XML = """<?xml version="1.0"?><eCitation><uId id="CXR7"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON"/><AbstractText Label="FINDINGS">Heart size  normal.</AbstractText>
<AbstractText Label="IMPRESSION">No &lt;acute&gt; finding.</AbstractText></Abstract></Article>
</MedlineCitation><MeSH><major>normal</major><automatic>Edema</automatic><automatic>edema</automatic></MeSH></eCitation>"""


def test_openi_sections_and_terms():
    report = openi_report(XML.encode())
    assert report.identifier == "CXR7"
    assert report.sections == {"findings": "Heart size normal.", "impression": "No <acute> finding."}
    assert (report.major, report.automatic) == (("normal",), ("Edema", "edema"))
    assert selected_text(XML, "impression") == "No <acute> finding."


@pytest.mark.parametrize("data", [b"<a>", b"<a/>", b"", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"])
def test_other_xml_is_refused_by_name(data):
    with pytest.raises(DataError, match="7.xml"):
        openi_report(data, "7.xml")


def test_padchest_text_is_one_section():
    text = "cardiomegali . sin signo de derram pleural ."
    assert report_sections(text) == {"": text}


@pytest.mark.parametrize(
    "text", ["< 5 mm nodule.", "<5 mm nodule in the RUL.", "<NAME> has no effusion.", "<<< clear"]
)
def test_a_text_that_opens_with_an_angle_bracket_is_no_xml(text):
    assert report_sections(text) == {"": text}


def test_a_damaged_openi_file_is_still_refused():
    for damaged in (XML[:200], XML.removeprefix('<?xml version="1.0"?>')[:150]):
        with pytest.raises(DataError, match="XML"):
            report_sections(damaged)


def test_characters_that_nobody_sees_cut_no_head_and_no_word():
    text = "\ufeffFINDINGS: Pneumo\u00adthorax.\nIMPRES\u200bSION: None."
    assert text_sections(text) == {"findings": "Pneumothorax.", "impression": "None."}
