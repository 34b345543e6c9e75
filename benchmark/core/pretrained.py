"""The one place that calls loaders of transformers: Python that a model folder brings is never run.

transformers asks on standard input whether to run such code, where nothing was said, and open_clip says
nothing. So every call of this project says no, and what other libraries call cannot ask either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.core.guard import parse_json, parsing, read_text

if TYPE_CHECKING:
    from torch import Tensor


_NUMBER = re.compile(r"\.\d+\.")
"""Of a layer, in the name of a weight."""


def from_folder(kind: str, folder: Path | str, **options: Any) -> Any:
    """`transformers.<kind>.from_pretrained` on a local folder. kind: `AutoModel`, `AutoTokenizer`, …

    Raises BenchError where the folder is none, is damaged, or needs code of its own.
    """
    import transformers

    refuse_code(folder)
    with parsing(folder, "a model folder", "Check its files."), no_remote_code():
        loader = getattr(transformers, kind)
        return loader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **options)


def model_from_folder(kind: str, folder: Path | str, optional: tuple[str, ...] = (), **options: Any) -> Any:
    """The model of a local folder, by the class `kind`, with every weight from its files.

    transformers draws at random what the files lack, be it all of them under other names, leaves out layers
    that config.json does not count, and only logs both. optional: beginnings of the names of weights that may
    be lacking, as nothing reads them. Raises BenchError that names the first other one, or the first that is
    left out, and as `from_folder`.
    """
    _refuse_adapter(folder)
    model, said = from_folder(kind, folder, output_loading_info=True, **options)
    lost = sorted(n for n in said["missing_keys"] if not n.startswith(optional))
    if lost:
        raise BenchError(
            f"{folder}: its files lack {len(lost)} weights of the model that its config.json describes, the "
            f"first '{lost[0]}'; they would be random. Use files and config.json of one model."
        )
    own = model.state_dict()
    _refuse_left_out(folder, own, said["unexpected_keys"], model.base_model_prefix)
    return model


def model_as(
    kind: str, folder: Path | str, state: Mapping[str, Tensor], optional: tuple[str, ...] = ()
) -> Any:
    """A model of the architecture `kind` (`bert`, …) with the sizes of a folder's config.json and `state`.

    For folders whose config.json names another type, or Python to run, which is not run: what decides is
    whether the weights fit. Names may begin with the model's own prefix; weights of other parts are left out.
    Raises BenchError where there is no such architecture, or the weights lack or misshape one of it.
    """
    import transformers

    _refuse_adapter(folder)
    path = Path(folder) / "config.json"
    fields = parse_json(read_text(path, "a JSON file"), path)
    with parsing(path, f"the sizes of a '{kind}' model", "Check it and `architecture`."), no_remote_code():
        given = {key: value for key, value in fields.items() if key not in ("model_type", "auto_map")}
        config = transformers.AutoConfig.for_model(kind, **given)
        model = transformers.AutoModel.from_config(config, trust_remote_code=False)
    own = model.state_dict()
    prefix = f"{model.base_model_prefix}."
    found = {name.removeprefix(prefix): value for name, value in state.items()}
    wrong = [n for n in own if n in found and found[n].shape != own[n].shape]
    lost = [n for n in own if n not in found and not n.startswith(optional)]
    if wrong or lost:
        what, names = ("have another shape for", wrong) if wrong else ("lack", lost)
        raise BenchError(
            f"{folder}: its weights {what} {len(names)} of a '{kind}' model, the first '{sorted(names)[0]}'. "
            "Correct `architecture`, or use files and config.json of one model."
        )
    _refuse_left_out(folder, own, found.keys() - own.keys(), "")
    model.load_state_dict({**own, **{n: found[n] for n in own if n in found}})
    return model


def _refuse_adapter(folder: Path | str) -> None:
    """Raises BenchError where a folder holds an adapter of PEFT: where that package is not installed it would
    be left out, and where it is, the weights come from whatever folder or cache its file names."""
    if (Path(folder) / "adapter_config.json").is_file():
        raise BenchError(
            f"{folder}: holds an adapter (adapter_config.json) beside weights. Merge it into them with "
            "PEFT's merge_and_unload, and save the model."
        )


def _refuse_left_out(folder: Path | str, own: Collection[str], surplus: Collection[str], prefix: str) -> None:
    """Raises BenchError where files hold a layer more than the model, or the bias of a layer that has none
    there: config.json is then of another model. Heads of other tasks are left out without a word."""
    layers = {_NUMBER.sub(".#.", name) for name in own}
    names = sorted(name.removeprefix(f"{prefix}.") for name in surplus)
    more = [n for n in names if _NUMBER.sub(".#.", n) in layers]
    more += [n for n in names if n.endswith(".bias") and f"{n.removesuffix('bias')}weight" in own]
    if more:
        raise BenchError(
            f"{folder}: its files hold {len(more)} weights of layers that its config.json does not describe, "
            f"the first '{more[0]}'; they would be left out. Use files and config.json of one model."
        )


def untrained(folder: Path | str) -> Any:
    """A model of the architecture of a folder's config.json, with random weights. Raises as above."""
    from transformers import AutoModel

    config = from_folder("AutoConfig", folder)
    with parsing(folder, "a model folder", "Check its config.json."), no_remote_code():
        return AutoModel.from_config(config, trust_remote_code=False)


def refuse_code(folder: Path | str) -> None:
    """Raises BenchError where `folder` is no folder, or names Python to run (`auto_map`)."""
    if not Path(folder).is_dir():
        raise BenchError(
            f"{folder}: no such folder. Models of the hub are downloaded first, at a fixed revision: "
            "huggingface-cli download NAME --revision COMMIT --local-dir FOLDER."
        )
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "open_clip_config.json"):
        path = Path(folder) / name
        if path.is_file() and _names_code(parse_json(read_text(path, "a JSON file"), path)):
            raise BenchError(
                f"{path}: it asks to run Python of the model's authors (auto_map), which is never done here; "
                "use a model of an architecture that transformers has itself."
            )


def _names_code(value: Any) -> bool:
    return '"auto_map"' in json.dumps(value)


@contextmanager
def no_remote_code() -> Iterator[None]:
    """Inside, transformers refuses code of a model folder at once instead of asking, whoever calls it."""
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before
