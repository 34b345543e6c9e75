"""What the released checkpoints were fitted to, encoders included, and where that is stated."""

from __future__ import annotations

from benchmark.encoders.cards import Seen
from benchmark.encoders.exposure import Exposure

_CARZERO = "github.com/laihaoran/CARZero, README"
_GLORIA = "Huang et al. 2021 (GLoRIA), sec. 4.1; configs/chexpert_pretrain_config.yaml"
_MEDCLIP = "Wang et al. 2022 (MedCLIP), arXiv:2210.10163, sec. 4.1"
_RADZERO = "RadZero, arXiv:2504.07416; github.com/deepnoid-ai/RadZero, configs/radzero.yaml"
_CHEXZERO = "Tiu et al. 2022 (CheXzero), doi:10.1038/s41551-022-00936-9, Methods"
_BRGSA = "github.com/laihaoran/BrgSA"
_CT_CLIP = "Hamamci et al. 2024 (CT-CLIP), arXiv:2403.17834"
_CXR_BERT = "Boecking et al. 2022 (CXR-BERT), arXiv:2204.09817"


def _seen(dataset: str, what: str, source: str, split: str = "unknown") -> Seen:
    return Seen.model_validate({"dataset": dataset, "split": split, "what": what.split(), "source": source})


SEEN: dict[str, Exposure] = {
    "brgsa": (_seen("ct_rate", "images reports", _BRGSA, "train"),),
    "carzero": (
        _seen("imagenet-1k", "images", f"{_CARZERO}: image encoder by MAE"),
        _seen("mimic_cxr", "images reports", f"{_CARZERO}: training data"),
        _seen("padchest", "reports", f"{_CARZERO}: text encoder fine-tuned on MIMIC and Padchest reports"),
    ),
    "clip": (
        _seen("wit-400m", "images reports", f"{_CHEXZERO}: it starts from OpenAI's CLIP"),
        _seen("mimic_cxr", "images reports", _CHEXZERO),
        _seen("chexpert", "labels", f"{_CHEXZERO}: checkpoints chosen on its validation labels", "valid"),
    ),
    "ct-clip": (
        _seen("ct_rate", "images reports", _CT_CLIP, "train"),
        _seen("pubmed abstracts", "reports", f"{_CXR_BERT}: text encoder"),
        _seen("mimic-iii notes", "reports", f"{_CXR_BERT}: text encoder"),
        _seen("mimic_cxr", "reports", f"{_CXR_BERT}: text encoder, specialised"),
    ),
    "gloria": (
        _seen("imagenet-1k", "images labels", f"{_GLORIA}: image encoder"),
        _seen("mimic-iii notes", "reports", f"{_GLORIA}: text encoder is Bio_ClinicalBERT"),
        _seen("chexpert", "images reports", _GLORIA, "train"),
    ),
    "medclip": (
        _seen("mimic-iii notes", "reports", f"{_MEDCLIP}: text encoder is Bio_ClinicalBERT"),
        _seen("mimic_cxr", "images reports labels", f"{_MEDCLIP}: pairs by labels of the texts", "train"),
        _seen("chexpert", "images labels", f"{_MEDCLIP}: pairs by its labels", "train"),
    ),
    "radzero": (
        _seen("mimic_cxr", "images reports", _RADZERO, "train"),
        _seen("sentence pairs of the web", "reports", f"{_RADZERO}: text encoder is MPNet"),
        _seen("unknown", "images", f"{_RADZERO}: image encoder is XrayDINOv2, whose images are not stated"),
    ),
}
"""Release → exposure: that of a method's own authors, of CheXzero under `clip`, and of CT-CLIP."""


def method_of(release: str) -> str:
    """The method whose scores a release has: CT-CLIP's are those of CLIP, any other has its own name."""
    return "clip" if release == "ct-clip" else release
