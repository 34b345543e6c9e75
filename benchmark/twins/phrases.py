"""Sentence patterns of the reports. {rest} is a noun phrase, {a}, {b}, {c} are bare names."""

from __future__ import annotations

import numpy as np

PRESENT = (
    "There is {article}{rest}.",
    "{Rest}.",
    "{Rest} is seen.",
    "{Rest} is noted.",
    "{Rest} is present.",
    "The study shows {rest}.",
    "Findings are consistent with {rest}.",
    "{Rest} is again seen, unchanged.",
    "New {rest} compared with the previous study.",
    "{Rest} has increased since the prior study.",
)
PRESENT_WEIGHTS = np.array([5, 4, 2, 2, 2, 1.2, 1, 0.8, 0.7, 0.7])
PRESENT_WEIGHTS /= PRESENT_WEIGHTS.sum()
FOLLOW_UP = 7
UNSURE = (
    "Possible {rest}.",
    "Findings may represent {rest}.",
    "{Rest} cannot be excluded.",
    "Questionable {rest}.",
    "This could reflect {rest}.",
    "Suspected {rest}.",
)
ABSENT_ONE = ("No {a}.", "There is no {a}.", "No evidence of {a}.", "Negative for {a}.")
ABSENT_TWO = ("No {a} or {b}.", "There is no {a} or {b}.", "No evidence of {a} or {b}.")
ABSENT_THREE = (
    "No {a}, {b} or {c}.",
    "No focal {a}, {b}, or {c}.",
    "There is no evidence of {a}, {b} or {c}.",
    "The lungs are clear without {a}, {b} or {c}.",
)
CALM: dict[tuple[str, ...], tuple[str, ...]] = {
    ("cardiomegaly",): (
        "The cardiomediastinal silhouette is normal.",
        "Heart size is normal.",
        "Cardiac silhouette is within normal limits.",
    ),
    ("hilar enlargement",): ("The hilar contours are normal.",),
    ("mediastinal enlargement",): ("Mediastinal contours are unremarkable.",),
    ("fracture",): ("The osseous structures are unremarkable.", "Bony structures are intact."),
    ("consolidation", "pleural effusion", "pneumothorax"): (
        "The lungs are clear.",
        "Lungs are clear bilaterally.",
    ),
}
CLEAR = (
    "No acute cardiopulmonary process.",
    "No acute intrathoracic abnormality.",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
)
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
    "hilar enlargement": ("adenopathy", "hilar congestion", "pulmonary hypertension", "calcified adenopathy"),
    "fracture": ("callus rib fracture", "vertebral compression", "vertebral anterior compression"),
    "mediastinal shift": ("tracheal shift", "volume loss", "lobar atelectasis", "total atelectasis"),
}
