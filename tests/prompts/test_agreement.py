from __future__ import annotations

import hashlib

import pandas as pd
import pytest
import yaml

from benchmark.core.errors import DataError
from benchmark.data.cards import load_card
from benchmark.prompts.aligned import Statement
from benchmark.prompts.report_labels import label_concepts, report_collections
from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.scoring import (
    Agreement,
    has_class,
    label_agreement,
    openi_agreement,
    pooled,
    statement_agreement,
    truth_agreement,
)
from benchmark.prompts.sections import OpenIReport
from benchmark.prompts.sources import labelled_reports, read_openi
from benchmark.twins.population import findings_of, visits
from benchmark.twins.reports import write_report
from benchmark.twins.sites import site

ALIGNER = RuleAligner()
LEXICON = ALIGNER.lexicon


def test_counts_by_hand():
    truth = [
        [Statement("pneumonia", "present", "left"), Statement("pneumothorax", "absent")],
        [Statement("cardiomegaly", "uncertain")],
    ]
    found = [
        [
            Statement("pneumonia", "uncertain", "right"),
            Statement("pneumothorax", "absent"),
            Statement("mass", "present"),
        ],
        [],
    ]
    scores = statement_agreement(truth, found, LEXICON)
    assert scores["finding"] == Agreement(2, 1, 1)
    assert scores["finding+presence"] == Agreement(1, 2, 2)
    assert scores["side"] == Agreement(0, 1, 1)
    assert scores["absent"] == Agreement(1, 0, 0)
    assert scores["present"] == scores["uncertain"] == Agreement(0, 1, 1)
    few = Agreement(2, 1, 4)
    assert (few.precision, few.recall, few.f1) == pytest.approx((2 / 3, 2 / 6, 4 / 9))
    assert few.summary() == {
        "right": 2, "surplus": 1, "missed": 4, "precision": few.precision, "recall": few.recall, "f1": few.f1
    }  # fmt: skip
    assert (Agreement(0, 0, 1).precision, Agreement(0, 1, 0).recall) == (None, None)
    assert Agreement(0, 0, 0).f1 is None
    with pytest.raises(DataError, match="1 sentences with a truth, 2"):
        statement_agreement(truth[:1], found, LEXICON)


def test_a_general_remark_stands_for_what_it_implies():
    truth = [[Statement(name, "absent") for name in ("pneumonia", "pneumothorax", "rib fracture")]]
    found = [[Statement("cardiopulmonary abnormality", "absent")]]
    assert statement_agreement(truth, found, LEXICON)["finding+presence"] == Agreement(2, 0, 1)
    truth = [[Statement("pneumonia", "present")]]
    assert statement_agreement(truth, found, LEXICON)["finding+presence"] == Agreement(0, 0, 1)


def test_terms_by_substring_and_whole():
    report = OpenIReport("CXR1", {}, (), ("Pleural Effusion", "MASS LESION"))
    assert has_class(report, ["effusion"], "substring")
    assert not has_class(report, ["effusion"], "exact")
    assert has_class(report, ["mass lesion"], "exact")
    assert not has_class(OpenIReport("CXR2", {}, (), ()), ["mass"], "substring")


def test_openi_scores_of_two_reports():
    card = load_card("openi")
    reports = [
        OpenIReport("CXR1", {"impression": "Large hiatal hernia. No effusion."}, (), ("hernia, hiatal",)),
        OpenIReport("CXR2", {"findings": "Possible effusion."}, (), ("fracture",)),
    ]
    scores = openi_agreement(reports, card, ALIGNER, LEXICON)
    assert scores["Hernia"] == Agreement(1, 0, 0)
    assert scores["Effusion"] == Agreement(0, 1, 0)
    assert scores["Fracture"] == Agreement(0, 0, 1)
    assert pooled(scores) == Agreement(1, 1, 1)
    assert openi_agreement(reports, card, ALIGNER, LEXICON, counted="present")["Effusion"] == Agreement(
        0, 0, 0
    )
    with pytest.raises(DataError, match="no report"):
        openi_agreement([], card, ALIGNER, LEXICON)


def _twin_sentences(images: int, seed: int) -> pd.DataFrame:
    place = site("mimic_cxr")
    rows = []
    for visit in visits(place, images, seed):
        drawn = findings_of(visit, place, seed)
        for number, sentence in enumerate(write_report(visit, drawn, place, seed)[0]):
            head = (visit.patient.number, visit.number, "sentence", number, sentence.text)
            rows += [(*head, f.concept, f.presence, f.side) for f in sentence.findings] or [
                (*head, None, None, None)
            ]
    columns = ["patient", "study", "source", "sentence", "text", "concept", "presence", "side"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("seed", [7, 101])
def test_aligner_reads_what_twins_wrote(seed):
    scores = truth_agreement(_twin_sentences(500, seed), ALIGNER, LEXICON)
    assert scores["finding+presence"].right > 500
    for name in ("finding", "finding+presence", "side", "present", "absent"):
        f1 = scores[name].f1
        assert f1 is not None
        assert f1 >= 0.95, f"{name}: {f1:.3f}"


def test_a_worse_aligner_scores_worse():
    class Deaf(RuleAligner):
        """Hears no negation."""

        def __init__(self) -> None:
            super().__init__()
            hear = self.statements
            self.statements = lambda s: tuple(Statement(x.concept, "present", x.side) for x in hear(s))

    frame = _twin_sentences(200, 7)
    assert (truth_agreement(frame, Deaf(), LEXICON)["finding+presence"].f1 or 0) < 0.7


def test_real_reports_against_mesh(shared):
    reports = read_openi(shared / "data" / "openi_reports")
    assert len(reports) == 1000
    scores = openi_agreement(reports, load_card("openi"), ALIGNER, LEXICON)
    assert (pooled(scores).recall or 0) > 0.95
    for name in ("Atelectasis", "Effusion", "Pneumothorax", "Edema", "Hernia", "Fracture"):
        assert (scores[name].f1 or 0) > 0.9, name


def test_other_tables_are_no_truth():
    with pytest.raises(DataError, match="no twin truth"):
        truth_agreement(pd.DataFrame({"source": []}), ALIGNER, LEXICON)


def _labelled(tmp_path, *rows):
    path = tmp_path / "labelled.csv"
    path.write_text("\n".join(["AccessionNo,report_text,Effusion, Nodule,Other", *rows]) + "\n")
    return path


def test_labels_beside_the_reports(tmp_path):
    card = load_card("chestxray14")
    path = _labelled(
        tmp_path,
        "a,There is a pleural effusion.,1,0,x",
        "b,No pleural effusion. A nodule is seen.,0,1.0,x",
        "c,The heart is normal.,1,1,x",
        "d,Possible nodule.,0,0,x",
    )
    frame, left_out = labelled_reports(path, card.classes)
    assert left_out == ["12 classes without a column: Atelectasis, Cardiomegaly, Infiltration, …"]
    scores = label_agreement(frame, card.concepts, ALIGNER, LEXICON)
    assert scores == {"Effusion": Agreement(1, 0, 1), "Nodule": Agreement(1, 1, 1)}
    assert pooled(scores) == Agreement(2, 1, 2)
    certain = label_agreement(frame, card.concepts, ALIGNER, LEXICON, counted="present")
    assert certain["Nodule"] == Agreement(1, 0, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,Effusion.,2,0,x", "labelled.csv:2: 'Effusion' is neither 0 nor 1"),
        ("a,Effusion.,,0,x", "labelled.csv:2: 'Effusion' is neither 0 nor 1"),
        ("a, ,1,0,x", "labelled.csv:2: there is no report"),
    ],
)
def test_labels_that_are_no_labels_are_named(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        labelled_reports(_labelled(tmp_path, row), load_card("chestxray14").classes)


def test_a_table_without_a_class_is_named(tmp_path):
    with pytest.raises(DataError, match="no column bears the name of a class, such as 'Opacity'"):
        labelled_reports(_labelled(tmp_path, "a,Effusion.,1,0,x"), ["Opacity"])
    with pytest.raises(DataError, match="no such table"):
        labelled_reports(tmp_path / "absent.csv", ["Opacity"])


def test_label_columns_that_are_no_class_are_said_or_refused(tmp_path):
    path = tmp_path / "labelled.csv"
    path.write_text("id,text,Effusion,Smoker\na,There is a pleural effusion.,1,0\n")
    _, left_out = labelled_reports(path, ["Effusion"])
    assert left_out == ["1 label columns that are no class: Smoker"]
    path.write_text("id,text,Effusion,nodules\na,There is a pleural effusion.,1,0\n")
    with pytest.raises(
        DataError, match=r"labelled.csv:1: 1 label columns are no class: 'nodules' \(near 'Nodule'"
    ):
        labelled_reports(path, ["Effusion", "Nodule"])


def test_collections_have_the_classes_of_their_label_files(shared):
    labels = shared / "specs/labels"
    for name in ("ct_rate", "ct_rate_lt"):
        listed = [
            entry["label"] for entry in yaml.safe_load((labels / f"{name}.yaml").read_text())["classes"]
        ]
        assert list(label_concepts(name)) == listed
    chest = yaml.safe_load((labels / "rad_chestct.yaml").read_text())
    columns = {entry["column"] for entry in chest["rest_classes"]["classes"]}
    columns |= {column for entry in chest["protocol_brgsa"]["classes"] for column in entry["multi"]}
    assert set(label_concepts("rad_chestct")) == columns
    assert label_concepts("openi") == load_card("openi").concepts


@pytest.mark.parametrize("collection", ["ct_rate", "ct_rate_lt"])
def test_prompts_of_ct_classes_are_read_as_their_class(collection):
    """ "There is Lung nodule", the prompt of the published evaluation, states its class."""
    for name, ids in report_collections()[collection].items():
        below = frozenset().union(*map(LEXICON.descendants, ids))
        if name != "Lung opacity":  # the bare word is broader than the class, which has no consolidation
            found = ALIGNER.statements(f"There is {name}.")
            assert [(s.concept in below, s.presence) for s in found] == [(True, "present")], name


def test_real_reports_of_chest_ct_are_read(shared):
    """Both halves of the 800 reports, the one on which the rules were written and the other one."""
    concepts = label_concepts("ct_rate")
    table = shared / "data/ct_rate_reports/train.csv"
    frame, _ = labelled_reports(table, tuple(concepts))
    ids = pd.read_csv(table)["AccessionNo"]
    own = ids.map(lambda name: int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0)
    for half in (frame[own], frame[~own]):
        scores = label_agreement(half, concepts, ALIGNER, LEXICON)
        assert pooled(scores).f1 > 0.94
        assert min(score.f1 for score in scores.values()) > 0.80
