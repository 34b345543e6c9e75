"""`.eval_results/*.yaml` of a model repository on Hugging Face's hub (hub-docs, eval_results.yaml), written
and read back by `huggingface_hub`."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.core.errors import BenchError
from benchmark.core.files import write_text
from benchmark.exchange.bundle import Bundle
from benchmark.exchange.recompute import headline

METRICS = ("auroc", "average_precision")


def write_eval_results(bundle: Bundle, hub: str, path: Path) -> None:
    """One entry a metric: the macro mean over seeds, its interval in the notes. task_id: set, protocol and
    metric. Raises BenchError where `hub` is no OWNER/NAME."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", hub):
        raise BenchError(f"--hub {hub}: expected OWNER/NAME of a dataset on the hub.")
    record, metrics = bundle.record, bundle.metrics()
    entries = []
    for metric in METRICS:
        found = headline(record, metrics, metric)
        data = "SYNTHETIC TWIN, no patients" if record.origin == "twin" else "official data"
        notes = (
            f"macro {metric}, mean of {len(record.seeds)} seeds, 95% interval [{found['low']:.4f}, "
            f"{found['high']:.4f}]; {data}; {record.images} images; {record.provenance.site}; "
            f"commit {record.provenance.commit[:10]}; bundle {bundle.digest[:16]}"
        )
        task = f"{record.dataset}-{record.origin}-{record.protocol}-{metric}"
        entries.append(EvalResultEntry(dataset_id=hub, task_id=task, value=found["value"], notes=notes))
    value = eval_result_entries_to_yaml(entries)
    assert parse_eval_result_entries(value) == entries
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
