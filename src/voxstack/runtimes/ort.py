"""Run nets on ONNX Runtime, the embedded default.

One session a net and size, shared by all utterances; threads explicit, spinning off (several sessions
that spin take each other's cores); a run in flight stops when its CancelScope is cancelled.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import onnxruntime

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError, suggest
from voxstack.core.executables import Choice, FixedAxes, Precision
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array

__all__ = ["NAME", "OrtExecutable", "OrtRuntime"]

T = TypeVar("T")

NAME = "onnxruntime"
WHERE = f"runtime {NAME}"

QUIET = 4
"""Log nothing but the end of the process: what goes wrong is raised."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""What a profile calls a device → the provider that must execute the net there."""

LOCK = "lock_sizes"
"""The option that lets one session serve all sizes: less memory, no fixed-size optimisation."""

WIDTHS = ("avx2", "avx512f")
"""Features of a processor that an optimised graph depends on. The weights of a convolution over two axes lie
in blocks of 16 channels with AVX-512, of 8 without; a kernel reads them by the width of its own machine."""

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OrtRuntime:
    """How ONNX Runtime runs nets.

    threads           a net run may use
    provider          that must execute it, as ONNX Runtime calls it
    provider_options  of the provider's own, such as TensorRT's cache or OpenVINO's device
    precision         what the net's file says: "int8" for one that holds quantised weights
    locks_sizes       whether each size gets a session that takes no other; else one takes them all
    """

    threads: int = 1
    provider: str = PROVIDERS["cpu"]
    provider_options: Options = ()
    precision: Precision = "f32"
    locks_sizes: bool = True

    name = NAME
    needs_sizes = False
    needs_artefact = False
    bound_to = WIDTHS

    @classmethod
    def choose(cls, choice: Choice) -> "OrtRuntime":
        """Return the runtime that a profile asks for.

        In:       choice  its device is one of PROVIDERS; its options are `lock_sizes` and the provider's own
        Raises:   ConfigError if this engine cannot do that
        """
        if choice.device not in PROVIDERS:
            meant = "; did you mean 'cuda'?" if choice.device == "gpu" else ""
            raise ConfigError(
                f"got device '{choice.device}', want one of {', '.join(PROVIDERS)}{meant}", where=WHERE
            )
        _check_provider(PROVIDERS[choice.device])
        if choice.precision not in ("f32", "int8"):
            raise ConfigError(
                f"got precision '{choice.precision}', but its kernels compute in what the net's file says; "
                "want f32, or int8 for a net that has such a file",
                where=WHERE,
            )
        options = dict(choice.options)
        locks = options.pop(LOCK, True)
        if not isinstance(locks, bool):
            raise ConfigError(f"got option {LOCK} {locks!r}, want true or false", where=WHERE)
        for name in options if choice.device == "cpu" else ():
            raise ConfigError(f"device 'cpu' has no option '{name}'{suggest(name, [LOCK])}", where=WHERE)
        own = tuple((name, str(value)) for name, value in options.items())
        return cls(choice.threads, PROVIDERS[choice.device], own, choice.precision, locks)

    @property
    def keeps_threads(self) -> bool:
        return self.threads > 1 or self.provider != PROVIDERS["cpu"]

    @property
    def version(self) -> str:
        return onnxruntime.__version__

    def build(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> "OrtExecutable":
        options = self._options()
        for axis, size in axes.items():
            options.add_free_dimension_override_by_name(axis, size)
        return self._open(spec, data, options)

    def compile(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> bytes:
        """Return the net as ONNX Runtime has optimised it for these sizes and this kind of processor."""
        options = self._options()
        for axis, size in axes.items():
            options.add_free_dimension_override_by_name(axis, size)
        with tempfile.TemporaryDirectory(prefix="voxstack-") as folder:
            path = Path(folder) / "net.onnx"
            options.optimized_model_filepath = str(path)
            self._open(spec, data, options)
            return path.read_bytes()

    def restore(self, spec: NetSpec, artefact: bytes, axes: FixedAxes) -> "OrtExecutable":
        options = self._options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return self._open(spec, artefact, options)

    def _options(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        return options

    def _open(self, spec: NetSpec, data: bytes, options: Any) -> "OrtExecutable":
        _check_provider(self.provider)
        chosen = (self.provider, dict(self.provider_options)) if self.provider_options else self.provider
        try:
            session = onnxruntime.InferenceSession(data, options, providers=[chosen])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise NetError(f"cannot be loaded: {_first_line(error)}", where=f"net '{spec.name}'") from error
        if session.get_providers()[0] != self.provider:
            raise NetError(
                f"runs on {session.get_providers()[0]}, not on {self.provider}", where=f"net '{spec.name}'"
            )
        _same_names("input", spec.inputs, [value.name for value in session.get_inputs()], spec.name)
        _same_names("output", spec.outputs, [value.name for value in session.get_outputs()], spec.name)
        return OrtExecutable(spec, session, self.precision)


class OrtExecutable:
    """A net in an ONNX Runtime session; safe from many threads at once."""

    def __init__(self, spec: NetSpec, session: Any, precision: Precision) -> None:
        self._spec = spec
        self._precision = precision
        self._session = session
        self._outputs = list(spec.outputs)

    @property
    def runtime(self) -> str:
        return f"{NAME} {onnxruntime.__version__} {self._session.get_providers()[0]}"

    @property
    def precision(self) -> str:
        """What its file says: kernels of this engine compute in nothing else."""
        dtypes = [tensor.dtype for tensor in (*self._spec.outputs.values(), *self._spec.inputs.values())]
        is_half = "float16" in dtypes and "float32" not in dtypes
        return "f16" if is_half else self._precision

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        results = self._stoppable(lambda options: self._session.run(self._outputs, feeds, options), feeds)
        return dict(zip(self._outputs, results, strict=True))

    def value(self, array: Array) -> Any:
        # Not ortvalue_from_numpy: that borrows numpy's memory, and an output that is an input passed
        # through borrows it too, but does not keep it alive.
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type)
        value.update_inplace(array)
        return value

    def array(self, value: Any) -> Array:
        return value.numpy()

    def run_values(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
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
                f"failed on {shapes}: {_first_line(error)}", where=f"net '{self._spec.name}'"
            ) from error


def _check_provider(provider: str) -> None:
    """Raise ConfigError if this build of ONNX Runtime lacks a provider; both are told as devices."""
    there = onnxruntime.get_available_providers()
    if provider not in there:
        device = next((name for name, known in PROVIDERS.items() if known == provider), provider)
        usable = [name for name, known in PROVIDERS.items() if known in there]
        raise ConfigError(
            f"got device '{device}', which onnxruntime {onnxruntime.__version__} as it is installed lacks; "
            f"install a build that has it, or choose one that is here: {', '.join(usable)}",
            where=WHERE,
        )


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
