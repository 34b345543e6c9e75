"""Names of PadChest images for the sets that are made of them: patients of their own, like all twins."""

from __future__ import annotations

from dataclasses import replace

from benchmark.twins.case import TwinImage, TwinStudy
from benchmark.twins.writers.padchest import image_id, patient_id, study_id

BLOCKS = {"padchest_gr": 3_000_000, "cxr_lt_2026": 6_000_000}


def place(dataset: str, study: TwinStudy, image: TwinImage) -> tuple[str, str, str]:
    """ImageID, StudyID and PatientID."""
    block = BLOCKS[dataset]
    patient = replace(study.patient, number=study.patient.number + block)
    moved = replace(study, patient=patient, number=study.number + block)
    return image_id(moved, replace(image, number=image.number + block)), study_id(moved), patient_id(moved)
