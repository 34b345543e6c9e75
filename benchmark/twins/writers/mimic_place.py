"""Names in the MIMIC-CXR-JPG tree for the sets that borrow it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from benchmark.twins.case import TwinImage, TwinStudy
from benchmark.twins.writers.mimic_cxr import dicom_id, study_id, subject_id

BLOCKS = {"ms_cxr": 3_000_000, "cxr_lt": 6_000_000, "cxr_align": 9_000_000}
"""Patients of the borrowing twins are other ones than those of the MIMIC-CXR twin and get other numbers."""


class MimicIds(NamedTuple):
    dicom: str
    subject: str
    study: str

    @property
    def path(self) -> str:
        return f"files/p{self.subject[:2]}/p{self.subject}/s{self.study}/{self.dicom}.jpg"


def place(dataset: str, study: TwinStudy, image: TwinImage) -> MimicIds:
    block = BLOCKS[dataset]
    patient = replace(study.patient, number=study.patient.number + block)
    moved = replace(study, patient=patient, number=study.number + block)
    return MimicIds(dicom_id(replace(image, number=image.number + block)), subject_id(moved), study_id(moved))
