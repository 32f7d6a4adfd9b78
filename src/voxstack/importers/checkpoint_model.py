"""Load the model of a transformers checkpoint, which needs the packages that made it."""

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

from voxstack.core.errors import ImporterError
from voxstack.importers.checkpoint import Checkpoint, first_line

__all__ = ["load_model"]

PACKAGES = ("torch", "transformers", "safetensors", "onnxscript")


def load_model(checkpoint: Checkpoint, name: str) -> Any:
    """Return the transformers model of class `name`, in float32, on the CPU, ready to be exported.

    Raises:   ImporterError if packages are missing, or if the weights are not all there or do not fit
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ImporterError(
            f'needs {", ".join(missing)} to read it: pip install "voxstack[transformers]"',
            where=str(checkpoint.folder),
        )
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]
    from safetensors import SafetensorError  # pyright: ignore[reportMissingImports]

    where = str(checkpoint.folder)
    with _quiet(transformers):
        try:
            model, found = getattr(transformers, name).from_pretrained(
                where,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # then they are listed, and refused below
                dtype=torch.float32,
                attn_implementation="eager",
            )
        except SafetensorError as error:
            raise ImporterError(
                f"its weights are damaged: {first_line(error)}; fetch them anew", where=where
            ) from error
        except Exception as error:  # the library and torch each have their own
            raise ImporterError(f"cannot be loaded: {first_line(error)}", where=where) from error
    lacking = [f"'{tensor}' is missing" for tensor in found["missing_keys"]]
    lacking += [f"'{t}' is {[*got]}, want {[*want]}" for t, got, want in found["mismatched_keys"]]
    if lacking:
        raise ImporterError(
            f"the weights do not fit config.json, in {len(lacking)} tensors of {name}: {min(lacking)}; "
            "want the checkpoint of such a model, whole",
            where=where,
        )
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep the library's progress bars and advice to itself: what matters is raised."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    try:
        log.set_verbosity(log.CRITICAL)
        log.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
