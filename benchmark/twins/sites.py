"""Sites: who comes, how they are imaged, what is common there, how reports and labels are made."""

from __future__ import annotations

from pydantic import BaseModel

from benchmark.core.errors import UnknownName
from benchmark.twins.detector import Style

NEVER_NAMED = (
    "scoliosis",
    "kyphosis",
    "air trapping",
    "apical pleural thickening",
    "fibrotic band",
    "aortic elongation",
)
"""Drawn in training images, common in the PadChest twin, and named by no training report."""
_UNSPOKEN = (
    *NEVER_NAMED,
    "descendent aortic elongation",
    "ascendent aortic elongation",
    "supra aortic elongation",
    "pulmonary artery enlargement",
)
"""With their kinds, whose names would name them."""


class Site(BaseModel, frozen=True, extra="forbid"):
    """One hospital.

    views: probability that a visit has these images, keyed by e.g. "PA", "PA+L", "AP".
    visits: mean number of visits a patient. healthy: share of patients without any finding.
    common: factor on the reference frequency of every concept. rates: factor per concept.
    share: probability per visit, overriding the reference. silent: concepts no report names.
    floor: least expected share of a drawn concept, so that most classes of a small twin have positives.
    """

    name: str
    style: Style = Style()
    views: dict[str, float]
    visits: float = 1.5
    female: float = 0.48
    age: tuple[float, float] = (58.0, 18.0)
    healthy: float = 0.3
    common: float = 1.0
    rates: dict[str, float] = {}
    share: dict[str, float] = {}
    floor: float = 0.0012
    silent: tuple[str, ...] = ()
    mention: float = 0.94
    hedge: float = 0.05


_MORE = {"scoliosis": 0.07, "aortic elongation": 0.076}
_PORTABLE = {
    "endotracheal tube": 9.0,
    "NSG tube": 8.0,
    "central venous catheter via jugular vein": 12.0,
    "central venous catheter via subclavian vein": 8.0,
    "central venous catheter": 8.0,
    "reservoir central venous catheter": 7.0,
    "pacemaker": 1.6,
    "pulmonary edema": 60.0,
    "pleural effusion": 6.0,
    "atelectasis": 14.0,
    "cardiomegaly": 2.2,
    "pneumothorax": 24.0,
    "consolidation": 7.0,
    "increased density": 3.5,
    "pneumonia": 1.4,
    "hilar congestion": 4.0,
    "sternotomy": 3.0,
    "chest drain tube": 16.0,
    "external foreign body": 10.0,
    "hypoexpansion": 9.0,
    "rib fracture": 9.0,
    "fracture": 18.0,
    "pulmonary mass": 5.0,
    "nodule": 2.5,
    "emphysema": 5.0,
    "pulmonary fibrosis": 8.0,
    "pleural thickening": 7.0,
    "calcified granuloma": 1.6,
    "mediastinal enlargement": 12.0,
    "pneumomediastinum": 6.0,
    "subcutaneous emphysema": 8.0,
    "pneumoperitoneo": 5.0,
    "hiatal hernia": 1.5,
}
_NIH = {
    "infiltrates": 3.6,
    "pleural effusion": 2.2,
    "atelectasis": 5.0,
    "nodule": 2.6,
    "pulmonary mass": 6.5,
    "pneumothorax": 15.0,
    "consolidation": 4.0,
    "pleural thickening": 5.0,
    "emphysema": 2.2,
    "pulmonary edema": 7.0,
    "pulmonary fibrosis": 4.0,
    "cardiomegaly": 0.35,
    "pneumonia": 0.3,
    "hiatal hernia": 0.4,
    "central venous catheter via jugular vein": 3.0,
    "COPD signs": 0.1,
    "chronic changes": 0.1,
    "aortic elongation": 0.3,
}
_STANFORD = {
    "atelectasis": 13.0,
    "cardiomegaly": 2.6,
    "consolidation": 5.0,
    "pulmonary edema": 50.0,
    "pleural effusion": 3.6,
    "endotracheal tube": 9.0,
    "NSG tube": 8.0,
    "central venous catheter via jugular vein": 14.0,
    "pacemaker": 3.0,
    "mediastinal enlargement": 30.0,
    "pneumothorax": 6.0,
    "pulmonary mass": 2.0,
    "pneumonia": 0.5,
    "infiltrates": 0.6,
}

SITES: dict[str, Site] = {
    site.name: site
    for site in (
        Site(
            name="mimic_cxr",
            style=Style(gamma=0.92, sharpen=0.65, spread=0.16, border=0.25, marker="R"),
            views={"AP": 0.52, "PA": 0.30, "PA+L": 0.12, "AP+L": 0.03, "PA+L+L": 0.03},
            visits=2.0,
            age=(62.0, 17.0),
            healthy=0.15,
            common=1.0,
            floor=0.005,
            rates={**_PORTABLE, "pulmonary edema": 25.0, "pneumothorax": 15.0},
            silent=_UNSPOKEN,
            hedge=0.08,
        ),
        Site(
            name="padchest",
            style=Style(
                gamma=0.85, sharpen=0.45, scatter=0.08, spread=0.11, border=0.15, marker="D", high=2.8
            ),
            views={"PA+L": 0.26, "PA": 0.40, "AP": 0.28, "L": 0.01, "PA+L+L": 0.02, "AP+L": 0.03},
            visits=1.35,
            age=(61.0, 19.0),
            healthy=0.28,
            share=dict.fromkeys(NEVER_NAMED, 0.058) | _MORE,
        ),
        Site(
            name="chestxray14",
            style=Style(gamma=1.0, sharpen=0.9, spread=0.16, border=0.3, marker="L", high=2.5),
            views={"PA": 0.6, "AP": 0.4},
            visits=2.6,
            age=(47.0, 16.0),
            female=0.44,
            healthy=0.34,
            common=0.3,
            rates=_NIH,
        ),
        Site(
            name="openi",
            style=Style(gamma=0.88, sharpen=0.25, exposure=0.7, spread=0.14, border=0.05),
            views={"PA+L": 0.84, "PA": 0.11, "PA+L+L": 0.05},
            visits=1.0,
            age=(50.0, 18.0),
            healthy=0.4,
            common=0.45,
            rates={
                "calcified granuloma": 6.0,
                "granuloma": 4.0,
                "atelectasis": 6.0,
                "infiltrates": 0.9,
                "nodule": 2.0,
                "fracture": 30.0,
                "emphysema": 4.0,
                "pulmonary edema": 9.0,
                "increased density": 6.0,
                "cardiomegaly": 1.3,
                "pleural effusion": 1.4,
                "hiatal hernia": 1.6,
            },
        ),
        Site(
            name="chexpert",
            style=Style(gamma=0.95, sharpen=0.8, blur=0.0015, spread=0.15, border=0.2, marker="L"),
            views={"AP": 0.56, "PA": 0.12, "PA+L": 0.26, "AP+L": 0.06},
            visits=1.0,
            age=(60.0, 18.0),
            healthy=0.15,
            common=0.5,
            rates=_STANFORD,
        ),
        Site(
            name="chexpert5x200",
            style=Style(gamma=0.95, sharpen=0.8, blur=0.0015, spread=0.15, border=0.2, marker="L"),
            views={"AP": 0.7, "PA": 0.3},
            visits=1.1,
            age=(60.0, 18.0),
            healthy=0.02,
            common=0.3,
            rates={
                **_STANFORD,
                "atelectasis": 30.0,
                "cardiomegaly": 6.0,
                "consolidation": 70.0,
                "pulmonary edema": 220.0,
                "pleural effusion": 8.0,
            },
        ),
        Site(
            name="chestxdet10",
            style=Style(gamma=1.0, sharpen=0.9, spread=0.16, border=0.3, marker="L", high=2.5),
            views={"PA": 0.7, "AP": 0.3},
            visits=1.0,
            age=(47.0, 16.0),
            healthy=0.15,
            common=0.3,
            rates={
                **_NIH,
                "consolidation": 50.0,
                "pleural effusion": 10.0,
                "nodule": 7.0,
                "calcified densities": 9.0,
                "emphysema": 8.0,
                "pulmonary fibrosis": 35.0,
                "fracture": 200.0,
                "rib fracture": 20.0,
                "pneumothorax": 25.0,
                "pulmonary mass": 9.0,
                "atelectasis": 5.0,
                "infiltrates": 0.3,
            },
        ),
        Site(
            name="rsna_pneumonia",
            style=Style(gamma=1.0, sharpen=0.9, spread=0.16, border=0.3, marker="L", high=2.5),
            views={"PA": 0.55, "AP": 0.45},
            visits=1.0,
            age=(47.0, 17.0),
            healthy=0.35,
            common=0.35,
            rates={**_NIH, "pneumonia": 14.0},
        ),
        Site(
            name="siim_pneumothorax",
            style=Style(gamma=1.0, sharpen=0.9, spread=0.16, border=0.3, marker="L", high=2.5),
            views={"PA": 0.6, "AP": 0.4},
            visits=1.0,
            age=(47.0, 17.0),
            healthy=0.3,
            common=0.35,
            rates={**_NIH, "pneumothorax": 240.0},
        ),
        Site(
            name="ms_cxr",
            style=Style(gamma=0.92, sharpen=0.65, spread=0.13, border=0.25, marker="R"),
            views={"AP": 0.6, "PA": 0.4},
            visits=1.2,
            age=(62.0, 17.0),
            healthy=0.02,
            common=0.5,
            rates={
                **_PORTABLE,
                "pneumonia": 6.0,
                "pneumothorax": 80.0,
                "consolidation": 16.0,
                "increased density": 7.0,
                "pulmonary edema": 60.0,
                "pleural effusion": 4.0,
                "atelectasis": 9.0,
                "cardiomegaly": 2.6,
            },
            silent=_UNSPOKEN,
        ),
        Site(
            name="vindr_cxr",
            style=Style(gamma=0.78, sharpen=0.5, scatter=0.08, spread=0.10, border=0.1, low=0.15),
            views={"PA": 1.0},
            visits=1.0,
            age=(52.0, 17.0),
            healthy=0.5,
            common=0.5,
            rates={
                "aortic button enlargement": 25.0,
                "pleural thickening": 14.0,
                "pulmonary fibrosis": 18.0,
                "nodule": 2.5,
                "pulmonary mass": 4.0,
                "pleural effusion": 1.6,
                "calcified densities": 5.0,
                "infiltrates": 1.6,
                "consolidation": 3.0,
                "pneumothorax": 4.0,
                "tuberculosis": 20.0,
                "mediastinal shift": 25.0,
                "cavitation": 4.0,
                "rib fracture": 4.0,
                "COPD signs": 0.2,
            },
        ),
        Site(
            name="cxr_lt",
            style=Style(gamma=0.92, sharpen=0.65, spread=0.13, border=0.25, marker="R"),
            views={"AP": 0.5, "PA": 0.3, "PA+L": 0.2},
            visits=1.6,
            age=(62.0, 17.0),
            healthy=0.15,
            common=0.8,
            rates=_PORTABLE,
        ),
        Site(
            name="cxr_align",
            style=Style(gamma=0.92, sharpen=0.65, spread=0.13, border=0.25, marker="R"),
            views={"AP": 0.6, "PA": 0.4},
            visits=1.2,
            age=(62.0, 17.0),
            healthy=0.02,
            common=0.8,
            rates=_PORTABLE,
            silent=_UNSPOKEN,
            hedge=0.0,
        ),
        Site(
            name="padchest_gr",
            style=Style(
                gamma=0.85, sharpen=0.45, scatter=0.08, spread=0.11, border=0.15, marker="D", high=2.8
            ),
            views={"PA": 0.6, "AP": 0.4},
            visits=1.0,
            age=(64.0, 17.0),
            healthy=0.3,
            share={"scoliosis": 0.05, "aortic elongation": 0.06, "fibrotic band": 0.04},
        ),
        Site(
            name="cxr_lt_2026",
            style=Style(
                gamma=0.85, sharpen=0.45, scatter=0.08, spread=0.11, border=0.15, marker="D", high=2.8
            ),
            views={"PA": 0.6, "AP": 0.4},
            visits=1.2,
            age=(61.0, 19.0),
            healthy=0.1,
            share=dict.fromkeys(("scoliosis", "osteopenia", "bullas", "adenopathy", "goiter"), 0.05),
        ),
    )
}


def site(name: str) -> Site:
    """Raises UnknownName with the nearest site."""
    if name not in SITES:
        raise UnknownName("twin site", name, SITES)
    return SITES[name]
