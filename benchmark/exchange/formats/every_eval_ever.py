"""Every Eval Ever (evaleval.ai), schema 0.3: one JSON record of a bundle's macro means, with their intervals.

The package `every-eval-ever` holds the schema and needs Python 3.12; where it is installed the record is
validated against it before it is written.
"""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark import __version__
from benchmark.core.errors import BenchError
from benchmark.core.files import write_json
from benchmark.exchange.bundle import Bundle
from benchmark.exchange.recompute import CONFIG

SCHEMA = "0.3.0"
METRICS = {"auroc": "AUROC", "average_precision": "Average precision"}
PACKAGE = "every_eval_ever"


def write_every_eval_ever(bundle: Bundle, path: Path) -> str:
    """Returns a line where nothing could validate the record, else an empty one. Raises BenchError where the
    package finds it invalid."""
    value = every_eval_ever(bundle, str(int(time.time())))
    checked = validate(value)
    write_json(path, value)
    return "" if checked else (
        "not validated: every-eval-ever is not installed (Python 3.12 and the extra `every-eval-ever`)"
    )  # fmt: skip


def validate(value: dict[str, Any]) -> bool:
    """Whether the package is here and takes the record. Raises BenchError where it does not take it."""
    if find_spec(PACKAGE) is None:
        return False
    from importlib.resources import files

    import jsonschema

    schema = json.loads((files(PACKAGE) / "schemas" / "eval.schema.json").read_text(encoding="utf-8"))
    found = next(jsonschema.Draft7Validator(schema).iter_errors(value), None)
    if found is not None:
        where = ".".join(map(str, found.absolute_path)) or "the record"
        raise BenchError(f"{where}: not as the schema of Every Eval Ever wants it: {found.message[:200]}.")
    return True


def every_eval_ever(bundle: Bundle, retrieved: str) -> dict[str, Any]:
    """The record. retrieved: seconds since 1970, as the schema wants them."""
    record, metrics = bundle.record, bundle.metrics()
    made = record.provenance
    model = f"{_slug(made.site)}/{record.name}"
    data = "synthetic twin" if record.origin == "twin" else "official data"
    means = metrics[
        metrics["seed"].isna() & (metrics["class"] == "macro") & metrics["metric"].isin(list(METRICS))
    ]
    means = means[means["value"].notna() & ~means["stratum"].str.contains("=")]
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"cxr-alignbench-{record.dataset}-{record.origin}/{model}/{retrieved}",
        "retrieved_timestamp": retrieved,
        "source_metadata": {
            "source_name": "CXR-AlignBench",
            "source_type": "evaluation_run",
            "source_organization_name": made.site,
            "evaluator_relationship": "first_party",
            "additional_details": {"bundle_sha256": bundle.digest, "commit": made.commit},
        },
        "eval_library": {"name": "cxr-alignbench", "version": __version__},
        "model_info": {
            "name": record.title,
            "id": model,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "method": record.method,
                "encoder": made.encoder,
                "trained_on": made.trained_on,
                "seeds": ", ".join(map(str, record.seeds)),
            },
        },
        "evaluation_results": [
            _result(bundle, row, data) for row in means.sort_values(["metric", "stratum"]).to_dict("records")
        ],
    }


def _result(bundle: Bundle, row: dict[Any, Any], data: str) -> dict[str, Any]:
    record = bundle.record
    name = f"{record.dataset}-{record.origin}-{record.protocol}-{row['stratum']}"
    uncertainty: dict[str, Any] = {"num_samples": record.images}
    if row["low"] == row["low"]:
        uncertainty["confidence_interval"] = {
            "lower": float(row["low"]),
            "upper": float(row["high"]),
            "confidence_level": CONFIG.level,
            "method": "patients (clusters) and seeds, influence functions",
        }
    return {
        "evaluation_result_id": f"{name}-{row['metric']}",
        "evaluation_name": name,
        "source_data": {
            "dataset_name": record.dataset,
            "source_type": "other",
            "additional_details": {
                "data": data, "protocol": record.protocol, "card_version": record.card.version,
                "prompts": record.provenance.prompts,
            },
        },
        "metric_config": {
            "evaluation_description": f"Macro mean over classes of '{row['stratum']}', mean over seeds",
            "metric_id": str(row["metric"]),
            "metric_name": METRICS[str(row["metric"])],
            "metric_kind": str(row["metric"]),
            "metric_unit": "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 1.0,
        },
        "score_details": {"score": float(row["value"]), "uncertainty": uncertainty},
    }  # fmt: skip


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split()) or "site"
