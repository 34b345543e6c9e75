from __future__ import annotations

import pytest

from benchmark.prompts.aligned import ALIGNED_COLUMNS, align_report, aligned_table, wording
from benchmark.prompts.lexicon import load_lexicon
from benchmark.prompts.rules import RuleAligner

CASES = {
    "No pleural effusion or pneumothorax.": ["There is no pleural effusion", "There is no pneumothorax"],
    "There is a small right pleural effusion and moderate cardiomegaly.": [
        "There is pleural effusion on the right",
        "There is cardiomegaly",
    ],
    "Heart size and mediastinal contours are within normal limits.": [
        "There is no cardiomegaly",
        "There is no mediastinal enlargement",
    ],
    "The heart is not enlarged.": ["There is no cardiomegaly"],
    "The heart is normal and the aorta is tortuous.": [
        "There is no cardiomegaly",
        "There is aortic elongation",
    ],
    "Lungs are clear without focal consolidation, pneumothorax, or pleural effusion.": [
        "There is no consolidation",
        "There is no pneumothorax",
        "There is no pleural effusion",
    ],
    "The lungs are clear of edema.": ["There is no pulmonary edema"],
    "Pneumonia with inflammation.": ["There is pneumonia"],
    "Sequela of granulomatous disease.": ["There is granuloma"],
    "Left basilar opacity may represent atelectasis or pneumonia.": [
        "There is lung opacity at the left base",
        "There may be atelectasis",
        "There may be pneumonia",
    ],
    "A pneumothorax is not identified.": ["There is no pneumothorax"],
    "Pneumonia cannot be excluded.": ["There may be pneumonia"],
    "No focal consolidation, mild cardiomegaly.": ["There is no consolidation", "There is cardiomegaly"],
    "No effusion, the heart is enlarged.": ["There is no pleural effusion", "There is cardiomegaly"],
    "No evidence of edema but there is a left pneumothorax.": [
        "There is no pulmonary edema",
        "There is pneumothorax on the left",
    ],
    "Right PICC line tip in the mid SVC.": ["There is central venous catheter in the superior vena cava"],
    "There is blunting of the left costophrenic angle.": ["There is costophrenic angle blunting on the left"],
    "Calcified granuloma in the left lung base.": ["There is calcified granuloma at the left base"],
    "Opacities in the right upper lobe and left lower lobe.": [
        "There is lung opacity in the right upper lobe",
        "There is lung opacity in the left lower lobe",
    ],
    "In the left lower lobe, there is a 1.5 cm nodule.": ["There is nodule in the left lower lobe"],
    "No change in the right apical pneumothorax.": ["There is pneumothorax at the right apex"],
    "Right pneumothorax has resolved.": ["There is no pneumothorax"],
    "Bilateral effusions, left greater than right, with atelectasis.": [
        "There is pleural effusion on both sides",
        "There is atelectasis",
    ],
    "LLL consolidation concerning for pneumonia.": [
        "There is consolidation in the left lower lobe",
        "There may be pneumonia",
    ],
    "RUL mass.": ["There is pulmonary mass in the right upper lobe"],
    "Atelectasis versus scarring.": ["There may be atelectasis", "There may be scarring"],
    "No opacity to suggest pneumonia.": ["There is no lung opacity", "There is no pneumonia"],
    "Evaluate for pneumonia.": [],
    "Multiple healed right rib fractures.": ["There is callus of rib fracture on the right"],
    "No acute cardiopulmonary process.": ["There is no acute cardiopulmonary abnormality"],
    "Unchanged cardiomegaly.": ["There is cardiomegaly"],
    "Calcified granulomata in the right lung.": ["There is calcified granuloma in the right lung"],
    "A superimposed pneumonia would be a consideration.": ["There may be pneumonia"],
    "First rib fracture not well demonstrated.": ["There may be rib fracture"],
    "Fractured sternal wires.": ["There is sternotomy"],
    "Central venous catheter fracture .": ["There is central venous catheter"],
    "No evidence of active tuberculous process.": ["There is no tuberculosis"],
    "Unchanged.": ["There is unchanged appearance"],
    # Plain English.
    "The heart is larger than normal.": ["There is cardiomegaly"],
    "There is fluid in the pericardial space.": ["There is pericardial effusion"],
    "No fluid is seen around the lung.": ["There is no pleural effusion"],
    "The left lung has collapsed.": ["There is atelectasis on the left"],
    "Non-displaced rib fracture.": ["There is rib fracture"],
    "Pneumonia?": ["There may be pneumonia"],
    # Chest CT, as translated reports word it.
    "Calcific atheroma plaques are observed in the thoracic aorta and coronary arteries.": [
        "There is aortic atheromatosis",
        "There is coronary artery calcification",
    ],
    "Calcified plaques in the LAD.": ["There is coronary artery calcification"],
    "Pericardial effusion-thickening was not observed.": [
        "There is no pericardial effusion",
    ],
    "No pleural or pericardial effusion was detected.": [
        "There is no pleural effusion",
        "There is no pericardial effusion",
    ],
    "A mosaic attenuation pattern in both lungs (small airway disease?, small vessel disease?).": [
        "There is mosaic attenuation pattern in the lung on both sides",
        "There may be small airways disease",
    ],
    "Lymph nodes that do not reach pathological size.": ["There is visible lymph nodes"],
    "No enlarged lymph nodes in pathological dimensions were detected.": ["There is no adenopathy"],
    "There are millimetric non-specific nodules in the bilateral lung.": [
        "There is nodule in the lung on both sides"
    ],
    "No mass, nodule-infiltration was detected in both lungs.": [
        "There is no mass",
        "There is no nodule",
        "There is no pulmonary infiltrates",
    ],
    "Pleuroparenchymal sequelae density increases were observed in the left lung.": [
        "There is pulmonary fibrotic sequela in the left lung"
    ],
    "Ground-glass density increases in both lungs.": [
        "There is ground glass pattern in the lung on both sides"
    ],
    "A nodule in the left thyroid lobe.": ["There is thyroid nodule on the left"],
    "A hypodense lesion is observed in the liver.": ["There is abdominal abnormality"],
    "There was no finding compatible with pneumonia.": ["There is no pneumonia"],
    "A nodule, which was seen in the previous examination, was not detected.": ["There is no nodule"],
    "Interlobular septal and interstitial thickenings.": [
        "There is interlobular septal thickening",
        "There is interstitial pattern",
    ],
    "Heart size increased.": ["There is cardiomegaly"],
    "Heart contour size is natural.": ["There is no cardiomegaly"],
    "The patient was informed by phone.": [],
    "": [],
}


@pytest.fixture(scope="module")
def aligner() -> RuleAligner:
    return RuleAligner()


@pytest.mark.parametrize("sentence", CASES)
def test_wording_of_sentences(aligner, sentence):
    assert [wording(s, aligner.lexicon) for s in aligner.statements(sentence)] == CASES[sentence]


@pytest.mark.parametrize("identifier", load_lexicon().ids("finding", "device"))
def test_every_name_is_read_as_its_own_concept(aligner, identifier):
    name = aligner.lexicon[identifier].name
    for opening, presence in (
        ("There is", "present"),
        ("There is no", "absent"),
        ("There may be", "uncertain"),
    ):
        found = aligner.statements(f"{opening} {name}.")
        assert [(s.concept, s.presence) for s in found] == [(identifier, presence)]


def test_aligned_sentences_align_to_themselves(aligner):
    """The wording is a fixed point: an aligned sentence says what it was made from."""
    for sentence in CASES:
        for statement in aligner.statements(sentence):
            again = aligner.statements(wording(statement, aligner.lexicon) + ".")
            assert [(s.concept, s.presence) for s in again] == [(statement.concept, statement.presence)]


def test_side_place_and_severity(aligner):
    (statement,) = aligner.statements("Small left apical pneumothorax.")
    assert (statement.side, statement.location, statement.severity) == ("left", "lung apex", "small")
    (statement,) = aligner.statements("Pleural effusion on the right is moderate.")
    assert (statement.side, statement.severity) == ("right", "moderate")
    (statement,) = aligner.statements("Lead in the right ventricle of a pacemaker.")
    assert statement.side is None


def test_table_has_a_row_a_statement_and_keeps_silent_sentences(aligner):
    report = "FINDINGS: No effusion or edema. Discussed by phone.\n\nIMPRESSION: Cardiomegaly."
    sentences = align_report(report, aligner, aligner.lexicon)
    table = aligned_table([("s1", sentences)])
    assert list(table.columns) == list(ALIGNED_COLUMNS)
    assert table["sentence"].tolist() == [0, 0, 1, 2]
    assert table["section"].tolist() == ["findings"] * 3 + ["impression"]
    assert table["aligned"].isna().tolist() == [False, False, True, False]
    assert table["presence"].dropna().tolist() == ["absent", "absent", "present"]


def test_hash_is_of_the_rules_and_the_lexicon(aligner):
    assert aligner.hash == RuleAligner().hash
    assert len(aligner.hash) == 64
