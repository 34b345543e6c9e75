"""Sentence patterns of the reports. {rest} is a noun phrase, {a}, {b}, {c} are bare names.

[one|another] is a choice. A statement is a pattern and, now and then, an ending; a negation has both too.
The number of combinations is what makes sentences of different reports differ as much as those of
real ones (`perf/twin_realism.py`).
"""

from __future__ import annotations

import re

import numpy as np

_CHOICE = re.compile(r"\[([^\[\]]*)\]")

# Pattern → weight.
PRESENT: dict[str, float] = {
    "There is {article}{rest}": 5,
    "{Rest}": 4,
    "{Rest} is seen": 1.6,
    "{Rest} is noted": 1.6,
    "{Rest} is present": 1.2,
    "{Rest} is identified": 0.8,
    "{Rest} is demonstrated": 0.5,
    "{Rest} is visualized": 0.4,
    "The study shows {article}{rest}": 0.5,
    "The examination demonstrates {article}{rest}": 0.4,
    "The radiograph reveals {article}{rest}": 0.4,
    "Findings are consistent with {rest}": 0.6,
    "Findings are compatible with {rest}": 0.3,
    "The appearance is in keeping with {rest}": 0.3,
    "Note is made of {article}{rest}": 0.6,
    "Incidental note is made of {article}{rest}": 0.3,
    "Evidence of {article}{rest}": 0.4,
    "There is evidence of {article}{rest}": 0.5,
    "There is radiographic evidence of {article}{rest}": 0.2,
    "In addition, there is {article}{rest}": 0.4,
    "Also seen is {article}{rest}": 0.3,
    "Visualized is {article}{rest}": 0.2,
    "There appears to be {article}{rest}": 0.3,
    "One notes {article}{rest}": 0.2,
    "The film shows {article}{rest}": 0.2,
}
FOLLOW_UP: dict[str, float] = {
    "{Rest} is again seen": 0.7,
    "{Rest} is again noted": 0.5,
    "Again seen is {article}{rest}": 0.5,
    "Again demonstrated is {article}{rest}": 0.3,
    "Redemonstration of {article}{rest}": 0.4,
    "New {rest}": 0.4,
    "Persistent {rest}": 0.5,
    "Stable {rest}": 0.6,
    "There has been interval development of {article}{rest}": 0.4,
    "There has been interval increase of {article}{rest}": 0.3,
    "{Rest} has increased since the prior study": 0.4,
    "{Rest} is not significantly changed": 0.4,
}
ENDINGS: dict[str, float] = {
    " on this examination": 1,
    " on the current study": 1,
    ", best appreciated on the frontal view": 0.8,
    ", of no acute significance": 0.5,
    ", as seen on the frontal radiograph": 0.6,
    " at the time of examination": 0.5,
    ", partially imaged": 0.4,
    ", for which follow-up is recommended": 0.4,
    ", to be correlated clinically": 0.4,
}
FOLLOW_UP_ENDINGS: dict[str, float] = {
    ", unchanged from the prior exam": 1,
    " compared with the previous study": 1,
    ", similar in appearance to the prior radiograph": 0.8,
    " without significant interval change": 0.8,
    ", stable when compared with the examination of ___": 0.6,
    ", as described previously": 0.5,
}
TOGETHER = (
    "There is {one} and {other}.",
    "{One} and {other}.",
    "{One} and {other} are noted.",
    "{One} and {other} are seen.",
    "There is {one} as well as {other}.",
    "There is {one} with {other}.",
    "Findings include {one} and {other}.",
    "{One}, {other}.",
)
UNSURE = (
    "Possible {rest}.",
    "Findings may represent {rest}.",
    "{Rest} cannot be excluded.",
    "Questionable {rest}.",
    "This could reflect {rest}.",
    "Suspected {rest}.",
    "Question of {rest}.",
    "Findings are suspicious for {rest}.",
    "The appearance raises the possibility of {rest}.",
    "{Rest} is suspected.",
    "{Rest} is not excluded on this examination.",
    "There may be {article}{rest}.",
    "Findings could be related to {rest} in the appropriate clinical setting.",
    "Probable {rest}, for which comparison with old films would be helpful.",
)
ABSENT_ONE = (
    "No {a}",
    "There is no {a}",
    "No evidence of {a}",
    "There is no evidence of {a}",
    "Negative for {a}",
    "No definite {a}",
    "No {a} is seen",
    "No {a} is identified",
    "There is no evidence for {a}",
    "No visible {a} is identified",
    "No radiographic evidence of {a}",
    "{A} is not identified",
    "Without {a}",
)
ABSENT_TWO = (
    "No {a} or {b}",
    "There is no {a} or {b}",
    "No evidence of {a} or {b}",
    "No {a} or {b} is seen",
    "No {a} or {b} is identified",
    "There is no evidence of {a} or {b}",
    "Neither {a} nor {b} is seen",
    "No {a}, no {b}",
    "There is no visible {a} or {b}",
    "There is no {a}, and no {b} is seen",
)
ABSENT_THREE = (
    "No {a}, {b} or {c}",
    "No focal {a}, {b}, or {c}",
    "There is no evidence of {a}, {b} or {c}",
    "The lungs are clear without {a}, {b} or {c}",
    "There is no {a}, {b}, or {c}",
    "No {a}, {b}, or {c} is identified",
    "The lungs are without evidence of {a}, {b} or {c}",
    "Specifically, no {a}, {b} or {c} is seen",
)
CALM: dict[tuple[str, ...], tuple[str, ...]] = {
    ("cardiomegaly",): (
        "[The heart|Heart] size [is|appears|remains] [normal|within normal limits|unremarkable].",
        "[The cardiac|Cardiac|The cardiomediastinal|Cardiomediastinal] silhouette [is|appears|remains] "
        "[normal|within normal limits|unremarkable|within normal limits for size|normal in size and "
        "contour].",
        "The heart [is normal in size|is not enlarged|is within normal limits in size|appears "
        "normal in size].",
        "Normal heart size[| for age| and configuration].",
        "[The heart|Heart] size is [at the upper limits of normal|stable and within normal limits].",
    ),
    ("cardiomegaly", "mediastinal enlargement"): (
        "[The heart|Heart] size and mediastinal contour[|s] [are|appear|remain] "
        "[normal|within normal limits|unremarkable].",
        "[The cardiac|Cardiac] and mediastinal contours [are|appear] [within normal "
        "limits|normal|unremarkable].",
        "The heart and mediastinum [are|appear] [unremarkable|normal|within normal limits].",
    ),
    ("cardiomegaly", "hilar congestion"): (
        "[The heart|Heart] size and pulmonary [vascularity|vasculature] [are|appear] "
        "[within normal limits|normal].",
    ),
    ("hilar congestion",): (
        "[The pulmonary|Pulmonary] [vascularity|vasculature] [is|appears] "
        "[within normal limits|normal|unremarkable].",
    ),
    ("hilar enlargement",): (
        "[The hilar|Hilar] contours [are|appear] [normal|unremarkable|within normal limits|stable "
        "and normal].",
        "The hila [are|appear] [unremarkable|normal].",
    ),
    ("mediastinal enlargement",): (
        "[The mediastinal|Mediastinal] contour[s are|s appear] [unremarkable|normal|within normal limits].",
        "The mediastinum is [not widened|unremarkable|normal].",
    ),
    ("tracheal shift",): ("[The trachea|Trachea] [is|appears|remains] midline.",),
    ("fracture",): (
        "[The osseous|Visualized osseous|The visualized osseous|Bony|The bony] structures [are|appear] "
        "[unremarkable|intact|within normal limits|intact for age|grossly intact].",
        "The bony thorax [is|appears] [intact|unremarkable|grossly intact].",
        "The visualized [bony structures of the thorax|skeletal structures|bones] [reveal|show] no "
        "acute fracture.",
    ),
    ("consolidation", "pleural effusion", "pneumothorax"): (
        "[The lungs|Lungs|Both lungs] [are|appear|remain] [|grossly |essentially ]clear"
        "[|| bilaterally| on this examination].",
        "[The lungs|Both lungs] are [well expanded|well inflated|adequately expanded] and clear.",
        "Clear lungs[| bilaterally].",
    ),
}
SILENT = (
    "Clinical correlation is [recommended|advised|suggested|needed].",
    "Comparison is made with the [prior|previous] [study|examination|radiograph|exam] [dated|from|of] ___.",
    "Comparison with [previous|old|outside|prior] [films|radiographs|examinations] would be "
    "helpful[| if available].",
    "Follow-up [radiographs|imaging|examination|chest film] in ___ [weeks|months|days] [is|are] "
    "[advised|recommended].",
    "The patient is [slightly|somewhat|minimally|mildly] rotated[| to the left| to the right|].",
    "[PA and lateral|Frontal and lateral|Two|Upright] views [of the chest |]were "
    "[obtained|reviewed|submitted|acquired].",
    "A single [frontal|portable|upright|semi-erect] [view|image|radiograph] of the chest was "
    "[obtained|reviewed|submitted].",
    "[The visualized|Visualized|The] upper abdomen is [unremarkable|grossly normal|within normal limits].",
    "[The soft|Soft] tissues are [grossly normal|unremarkable|within normal limits].",
    "The [examination|study|exam] is otherwise [unremarkable|negative].",
    "Findings were [discussed with|communicated to|telephoned to|reported to] [Dr. ___|the "
    "referring physician|"
    "the clinical team|the covering nurse] [by telephone|in person|by pager|] at ___.",
    "The remainder of the [examination|study|chest] is [stable|similar in appearance|without change].",
    "The remaining [structures|portions of the examination] are stable in appearance.",
    "[Recommend|Suggest|Advise] clinical follow-up [as indicated|if symptoms persist|when appropriate].",
    "The [visualized|imaged] portions of the airway are patent.",
    "The degree of inspiration is [adequate|satisfactory|somewhat shallow].",
    "The [image|film|radiograph] was obtained [at the bedside|in the supine position|in the "
    "emergency department].",
    "The previous [images|films|studies] are not available [for review|at the time of dictation].",
    "[The heart|Heart] size is stable[| in the interval].",
    "The cardiomediastinal [silhouette|contour] is stable[| in appearance].",
    "The [lateral |]costophrenic [angles|sulci] are sharp.",
    "The patient was [imaged|examined] in the [upright|supine|sitting] position.",
    "[The diaphragm|Diaphragm] is [unremarkable|well defined|smooth].",
    "The [lung apices|apices] are partially obscured by the chin.",
    "[Technique|Exposure] is [adequate|satisfactory|suitable] for interpretation.",
)
"""Sentences that state no finding."""
CLEAR = (
    "No acute cardiopulmonary [process|abnormality|disease|findings]"
    "[| is seen| is identified| on this examination].",
    "No acute [intrathoracic|cardiopulmonary|intrathoracic] abnormality[| is seen| is identified].",
    "No [radiographic |]evidence of [acute cardiopulmonary disease|active disease|acute "
    "cardiopulmonary process].",
    "No acute [disease|pulmonary disease|pulmonary abnormality][| is seen| identified].",
    "There is no [acute cardiopulmonary process|acute cardiopulmonary abnormality|acute disease].",
)
ALL_NORMAL = ("[Normal|Negative|Unremarkable] chest[ radiograph| x-ray| examination].",)
COMPLAINTS = (
    "cough",
    "fever",
    "shortness of breath",
    "chest pain",
    "preoperative evaluation",
    "fall",
    "weakness",
    "hypoxia",
    "line placement",
    "follow-up",
)
LOCATED = {
    "paratracheal": "in the paratracheal region",
    "hilar": "in the hilar region",
    "mediastinal": "in the mediastinum",
    "base": "at the base",
}
# What a reader would not deny beside these, though they are no kinds of it.
NEAR = {
    "consolidation": (
        "pneumonia",
        "alveolar pattern",
        "infiltrates",
        "increased density",
        "lobar atelectasis",
    ),
    "pneumonia": ("infiltrates", "alveolar pattern", "consolidation", "tuberculosis"),
    "infiltrates": ("pneumonia", "alveolar pattern", "consolidation"),
    "nodule": ("pulmonary mass", "mass", "lung metastasis", "pseudonodule", "nipple shadow"),
    "cardiomegaly": ("heart insufficiency", "pericardial effusion"),
    "pleural effusion": ("costophrenic angle blunting", "empyema"),
    "mediastinal enlargement": ("mediastinal mass", "mediastinic lipomatosis", "goiter"),
    "pulmonary edema": ("hilar congestion", "heart insufficiency", "kerley lines"),
    "hilar congestion": ("pulmonary edema", "heart insufficiency", "vascular redistribution"),
    "hilar enlargement": ("adenopathy", "hilar congestion", "pulmonary hypertension", "calcified adenopathy"),
    "fracture": ("callus rib fracture", "vertebral compression", "vertebral anterior compression"),
    "mediastinal shift": ("tracheal shift", "volume loss", "lobar atelectasis", "total atelectasis"),
    "tracheal shift": ("goiter", "mediastinal shift", "volume loss", "total atelectasis"),
}


def chosen(table: dict[str, float], rng: np.random.Generator) -> str:
    """One key of the table, by weight."""
    weights = np.cumsum(list(table.values()))
    return list(table)[int(np.searchsorted(weights, rng.random() * weights[-1], "right"))]


def spoken(text: str, rng: np.random.Generator) -> str:
    """The text with one of each [choice|between|words]."""

    def one(found: re.Match[str]) -> str:
        options = found[1].split("|")
        return options[rng.integers(len(options))]

    return _CHOICE.sub(one, text)
