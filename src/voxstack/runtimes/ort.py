"""Run nets on ONNX Runtime, the embedded default.

One session a net, shared by all utterances; threads explicit, spinning off (several sessions that
spin take each other's cores); a run in flight stops when its CancelScope is cancelled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import onnxruntime

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array, Tensors
from voxstack.core.recurrence import first_state

__all__ = ["NAME", "OrtNet", "OrtRecurrence", "OrtRuntime"]

T = TypeVar("T")

NAME = "onnxruntime"

QUIET = 4
"""Log nothing but the end of the process: what goes wrong is raised."""


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
        results = self._stoppable(lambda options: self._session.run(self._outputs, feeds, options), feeds)
        return self.spec.unpack(dict(zip(self._outputs, results, strict=True)))

    def begin(self, tensors: Tensors) -> "OrtRecurrence":
        return OrtRecurrence(self, tensors)

    def run_values(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run once on the engine's own values, in the net's own layout; what comes out stays there."""
        results = self._stoppable(
            lambda options: self._session.run_with_ort_values(self._outputs, feeds, options), feeds
        )
        return dict(zip(self._outputs, results, strict=True))

    def _stoppable(self, run: Callable[[Any], T], feeds: Mapping[str, Any]) -> T:
        """Run, so that the current CancelScope can stop it in flight."""
        options = onnxruntime.RunOptions()
        scope = CancelScope.current()
        if scope is None:
            return self._run(run, options, feeds, scope)
        with scope.stopping(lambda: setattr(options, "terminate", True)):
            return self._run(run, options, feeds, scope)

    def _run(
        self, run: Callable[[Any], T], options: Any, feeds: Mapping[str, Any], scope: CancelScope | None
    ) -> T:
        try:
            return run(options)
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            if scope is not None and scope.is_cancelled:
                raise Cancelled("the stream was closed") from None
            shapes = ", ".join(f"{name} {_shape(tensor)}" for name, tensor in feeds.items())
            raise NetError(
                f"failed on {shapes}: {_first_line(error)}", where=f"net '{self.spec.name}'"
            ) from error


class OrtRecurrence:
    """One utterance's walk through a recurrent net; its state never leaves ONNX Runtime."""

    def __init__(self, net: OrtNet, tensors: Tensors) -> None:
        spec = net.spec
        constant = [name for name in spec.inputs if name in tensors and name not in spec.state]
        self._net = net
        self._constant = _values(spec.pack(tensors, constant))
        self._state = _values(first_state(spec, tensors))
        self._new = [name for name in spec.inputs if name not in self._constant and name not in spec.state]
        self._shown = list(spec.gives)
        self._is_open = True

    def step(self, tensors: Tensors) -> dict[str, Array]:
        if not self._is_open:
            raise Cancelled("step after close")
        spec = self._net.spec
        new = _values(spec.pack(tensors, self._new))
        results = self._net.run_values({**self._constant, **self._state, **new})
        self._state = {name: results[after] for name, after in spec.state.items()}
        return spec.unpack({name: results[name].numpy() for name in self._shown}, self._shown)

    def close(self) -> None:
        self._is_open = False
        self._constant = {}
        self._state = {}


def _values(tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Return copies of tensors that are ONNX Runtime's own."""
    values: dict[str, Any] = {}
    for name, tensor in tensors.items():
        # Not ortvalue_from_numpy: that borrows numpy's memory, and an output that is an input passed
        # through borrows it too, but does not keep it alive.
        values[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(tensor.shape, tensor.dtype.type)
        values[name].update_inplace(tensor)
    return values


def _shape(tensor: Any) -> list[int]:
    return list(tensor.shape() if isinstance(tensor, onnxruntime.OrtValue) else tensor.shape)


def _same_names(what: str, declared: Mapping[str, object], real: list[str], net: str) -> None:
    if set(declared) != set(real):
        raise NetError(
            f"addon.json names the {what}s {sorted(declared)}, the file has {sorted(real)}",
            where=f"net '{net}'",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
