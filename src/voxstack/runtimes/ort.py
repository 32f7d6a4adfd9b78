"""Run nets on ONNX Runtime, the embedded default.

One session a net, shared by all utterances; threads explicit, spinning off (several sessions that
spin take each other's cores); a run in flight stops when its CancelScope is cancelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnxruntime

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array, Tensors

__all__ = ["NAME", "OrtNet", "OrtRuntime"]

NAME = "onnxruntime"

QUIET = 3
"""Log errors only: what goes wrong is raised."""


@dataclass(frozen=True)
class OrtRuntime:
    """How ONNX Runtime runs nets: `threads` a net run may use, `provider` that must execute it."""

    threads: int = 1
    provider: str = "CPUExecutionProvider"

    def load(self, spec: NetSpec, data: bytes) -> "OrtNet":
        """Make a net ready; raise NetError if the file, its tensors or the provider are not as said."""
        usable = onnxruntime.get_available_providers()
        if self.provider not in usable:
            raise ConfigError(
                f"provider '{self.provider}' is not in this build; usable: {', '.join(usable)}",
                where="runtime onnxruntime",
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(data, options, providers=[self.provider])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise NetError(f"cannot be loaded: {_first_line(error)}", where=f"net '{spec.name}'") from error
        if session.get_providers()[0] != self.provider:
            raise NetError(
                f"runs on {session.get_providers()[0]}, not on {self.provider}", where=f"net '{spec.name}'"
            )
        _same_names("input", spec.inputs, [value.name for value in session.get_inputs()], spec.name)
        _same_names("output", spec.outputs, [value.name for value in session.get_outputs()], spec.name)
        return OrtNet(spec, session, self.threads)


class OrtNet:
    """A net in an ONNX Runtime session; safe from many threads at once."""

    def __init__(self, spec: NetSpec, session: Any, threads: int) -> None:
        self.spec = spec
        self.threads = threads
        self._session = session
        self._outputs = list(spec.outputs)

    @property
    def runtime(self) -> str:
        """The engine, its version and the provider that really runs, for people."""
        return f"{NAME} {onnxruntime.__version__} {self._session.get_providers()[0]}"

    @property
    def precision(self) -> str:
        """The dtype of the numbers that flow through the net; what it was asked to be, never less."""
        dtypes = [spec.dtype for spec in (*self.spec.outputs.values(), *self.spec.inputs.values())]
        return next((dtype for dtype in dtypes if dtype.startswith("float")), dtypes[0])

    def run(self, tensors: Tensors) -> dict[str, Array]:
        feeds = self.spec.pack(tensors)
        options = onnxruntime.RunOptions()
        scope = CancelScope.current()
        if scope is None:
            return self._run(feeds, options, scope)
        with scope.stopping(lambda: setattr(options, "terminate", True)):
            return self._run(feeds, options, scope)

    def _run(self, feeds: dict[str, Array], options: Any, scope: CancelScope | None) -> dict[str, Array]:
        try:
            results = self._session.run(self._outputs, feeds, options)
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            if scope is not None and scope.is_cancelled:
                raise Cancelled("the stream was closed") from None
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in feeds.items())
            raise NetError(
                f"failed on {shapes}: {_first_line(error)}", where=f"net '{self.spec.name}'"
            ) from error
        return self.spec.unpack(dict(zip(self._outputs, results, strict=True)))


def _same_names(what: str, declared: Mapping[str, object], real: list[str], net: str) -> None:
    if set(declared) != set(real):
        raise NetError(
            f"addon.json names the {what}s {sorted(declared)}, the file has {sorted(real)}",
            where=f"net '{net}'",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
