"""Bio_ClinicalBERT, the text encoder of GLoRIA and MedCLIP."""

from __future__ import annotations

from benchmark.encoders.cards import ENCODERS, TextCard

BIOCLINICAL_BERT = ENCODERS.register("bioclinicalbert")(
    TextCard(
        name="bioclinicalbert",
        source="transformers",
        weights="hub:emilyalsentzer/Bio_ClinicalBERT",
        licence="MIT",
        note="The text encoder of GLoRIA and MedCLIP; needs the network once.",
        max_length=97,
        layers=4,
    )
)
