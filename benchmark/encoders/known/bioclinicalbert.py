"""Bio_ClinicalBERT, the text encoder of GLoRIA and MedCLIP."""

from __future__ import annotations

from benchmark.encoders.cards import ENCODERS, Seen, TextCard

BIOCLINICAL_BERT = ENCODERS.register("bioclinicalbert")(
    TextCard(
        name="bioclinicalbert",
        source="transformers",
        weights="hub:emilyalsentzer/Bio_ClinicalBERT",
        licence="MIT",
        seen=(
            Seen(
                dataset="mimic-iii notes",
                split="all",
                what=("reports",),
                source="Alsentzer et al. 2019, arXiv:1904.03323, sec. 3",
            ),
        ),
        note="The text encoder of GLoRIA and MedCLIP; needs the network once.",
        max_length=97,
        layers=4,
    )
)
