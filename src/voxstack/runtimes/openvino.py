"""Run nets on OpenVINO: Intel's processors, graphics and neural units, and any x86 or ARM processor.

Pinned, because the defaults would be others: the precision (where a processor has bf16, OpenVINO takes
it unasked), the threads, one stream, and no thread tied to a core (tied ones of two nets share a core).
What OpenVINO would accept and compute wrongly is refused here: other sizes, dtypes, large integers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from voxstack.core.errors import ConfigError, NetError, suggest
from voxstack.core.executables import Choice, FixedAxes, Option, Precision
from voxstack.core.nets import NetSpec, TensorSpec
from voxstack.runtimes.openvino_executable import OpenVinoExecutable
from voxstack.runtimes.openvino_library import core, ov, reason, shown

__all__ = ["NAME", "OpenVinoRuntime"]

NAME = "openvino"
WHERE = f"runtime {NAME}"

HINTS = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16}
"""Precision → what all that is not quantised must compute in."""

CAPABILITIES = {"f32": "FP32", "bf16": "BF16", "f16": "FP16", "int8": "INT8"}
"""Precision → what a device that has it says it can do."""

CHOSEN = {
    "DEVICE_ID": "device",
    "INFERENCE_NUM_THREADS": "threads",
    "INFERENCE_PRECISION_HINT": "precision",
}
"""Properties of OpenVINO that a profile states in words of its own."""

CACHING = ("CACHE_DIR", "CACHE_MODE")
"""Properties that OpenVINO takes but does not list."""

LOCK = "LOCK_SIZES"
"""The option that lets one compiled net serve all sizes: less memory, no fixed-size optimisation."""

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
"""Features of a processor that count for what OpenVINO compiled: which of them matter is not documented."""

MULTIPLYING = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
"""Kinds of node that a quantised net computes in 8 bits."""


@dataclass(frozen=True)
class OpenVinoRuntime:
    """How OpenVINO runs nets.

    threads      a net run may use, on a processor
    device       as OpenVINO calls it: CPU, GPU, GPU.1, NPU
    precision    int8: of what the net's file quantises, and the rest in bfloat16 where the device has it
    options      properties of OpenVINO, in its own capitals, sorted
    locks_sizes  whether each size is compiled by itself; else one compiled net takes them all

    Runs of one net take turns unless there is a stream for each: `NUM_STREAMS`, with `threads` for
    each. With free sizes the first run of each new length takes up to twice as long, in each stream.
    """

    threads: int = 1
    device: str = "CPU"
    precision: Precision = "f32"
    options: tuple[tuple[str, Option], ...] = ()
    locks_sizes: bool = True

    name = NAME
    needs_artefact = False
    keeps_threads = True

    @classmethod
    def choose(cls, choice: Choice) -> "OpenVinoRuntime":
        """Return the runtime that a profile asks for.

        In:       choice  its device is "cpu", "gpu", "gpu.1", "npu"; its options are `lock_sizes` and
                          OpenVINO's properties in small letters, such as `cache_dir`, a folder
                          for what was compiled once
        Raises:   ConfigError if this engine cannot do that here
        """
        options = {name.upper(): value for name, value in choice.options}
        locks = options.pop(LOCK, True)
        if not isinstance(locks, bool):
            raise ConfigError(f"got {locks!r} for option '{LOCK.lower()}', want true or false", where=WHERE)
        own = tuple(sorted(options.items()))
        runtime = cls(choice.threads, choice.device.upper(), choice.precision, own, locks)
        runtime.check()
        return runtime

    def check(self) -> None:
        """Raise ConfigError if the device is not there, or cannot do what was chosen."""
        there = core().available_devices
        device = self.device.lower()
        if self.device not in {*there, *(one.partition(".")[0] for one in there)}:
            raise ConfigError(
                f"got device '{device}'; there are: {', '.join(there).lower() or 'none'}", where=WHERE
            )
        can = self._precisions()
        if self.precision not in can:
            raise ConfigError(
                f"got precision '{self.precision}', but device '{device}' computes in: {', '.join(can)}",
                where=WHERE,
            )
        if self.needs_sizes and not self.locks_sizes:
            raise ConfigError(
                f"got {LOCK.lower()} false, but device '{device}' needs every size fixed", where=WHERE
            )
        known = {*self._writable(), *CACHING} - {*CHOSEN}
        for option, value in self.options:
            if option in CHOSEN:
                raise ConfigError(
                    f"got option '{option.lower()}', but a profile states that as '{CHOSEN[option]}'",
                    where=WHERE,
                )
            if option not in known:
                raise ConfigError(
                    f"device '{device}' has no option '{option.lower()}'"
                    f"{suggest(option.lower(), map(str.lower, known))}",
                    where=WHERE,
                )
            if option == "NUM_STREAMS" and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"got {value!r} for option 'num_streams', want 1 or more", where=WHERE)

    @property
    def needs_sizes(self) -> bool:
        return self.device.startswith("NPU")

    @property
    def bound_to(self) -> tuple[str, ...] | None:
        return FEATURES if self.device.startswith("CPU") else None

    @property
    def version(self) -> str:
        return ov.get_version()

    def build(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> "OpenVinoExecutable":
        model = self._model(spec, data, axes)
        return self._ready(spec, lambda: self._compile(spec, model))

    def compile(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> bytes:
        """Return the net as OpenVINO has transformed it, for this version and this kind of processor."""
        return self._compile(spec, self._model(spec, data, axes)).export_model().getvalue()

    def restore(self, spec: NetSpec, artefact: bytes, axes: FixedAxes) -> "OpenVinoExecutable":
        """Make a compiled net ready; only its processor's kernels are chosen again."""
        return self._ready(spec, lambda: self._import(spec, artefact, axes))

    def _import(self, spec: NetSpec, artefact: bytes, axes: FixedAxes) -> Any:
        self.check()
        try:
            net = core().import_model(artefact, self.device, self._config())
        except RuntimeError as error:
            raise NetError(
                f"cannot be restored on {self.device}: {reason(error)}; compile it again, on this machine",
                where=f"net '{spec.name}'",
            ) from error
        _ports("input", spec.inputs, net.inputs, spec.name)
        for name in spec.inputs:
            got, want = net.input(name).partial_shape, _wanted(spec, name, axes)
            if not got.compatible(want):
                raise NetError(
                    f"was compiled for {name} {shown(got)}, not for {shown(want)}; compile it again",
                    where=f"net '{spec.name}'",
                )
        return net

    def _model(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> Any:
        """Return a file's graph with the sizes put in that are known."""
        self.check()
        where = f"net '{spec.name}'"
        try:
            model = core().read_model(data)
        except RuntimeError as error:
            raise NetError(f"cannot be loaded: {reason(error)}", where=where) from error
        _ports("input", spec.inputs, model.inputs, spec.name)
        _ports("output", spec.outputs, model.outputs, spec.name)
        shapes = {name: _shape(spec, name, model.input(name), axes) for name in spec.inputs}
        try:
            model.reshape(shapes)
        except RuntimeError as error:
            raise NetError(f"cannot be compiled for these sizes: {reason(error)}", where=where) from error
        return model

    def _compile(self, spec: NetSpec, model: Any) -> Any:
        try:
            return core().compile_model(model, self.device, self._config())
        except RuntimeError as error:
            raise NetError(
                f"cannot be compiled for {self.device}: {reason(error)}", where=f"net '{spec.name}'"
            ) from error

    def _precisions(self) -> list[str]:
        can = core().get_property(self.device, "OPTIMIZATION_CAPABILITIES")
        return [name for name, capability in CAPABILITIES.items() if capability in can]

    def _hint(self) -> Any:
        """Return what all that is not quantised computes in; beside int8, bfloat16 if the device has it."""
        beside = "bf16" if "bf16" in self._precisions() else "f32"
        return HINTS[beside if self.precision == "int8" else self.precision]

    def _writable(self) -> set[str]:
        properties = core().get_property(self.device, "SUPPORTED_PROPERTIES")
        return {name for name, access in properties.items() if access != "RO"}

    def _config(self) -> dict[str, Any]:
        streams = int(dict(self.options).get("NUM_STREAMS", 1))
        pinned = {
            "INFERENCE_PRECISION_HINT": self._hint(),
            # Beside the precision there are other trades of accuracy for speed; nobody asked for them.
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self.threads * streams,
            "ENABLE_CPU_PINNING": False,
        }
        writable = self._writable()
        return {**{name: value for name, value in pinned.items() if name in writable}, **dict(self.options)}

    def _ready(self, spec: NetSpec, make: Callable[[], Any]) -> "OpenVinoExecutable":
        """Hold a compiled net to what was asked for."""
        net = make()
        where = f"net '{spec.name}'"
        _ports("input", spec.inputs, net.inputs, spec.name)
        _ports("output", spec.outputs, net.outputs, spec.name)
        devices = net.get_property("EXECUTION_DEVICES")
        if [device.partition(".")[0] for device in devices] != [self.device.partition(".")[0]]:
            raise NetError(f"runs on {', '.join(devices)}, not on {self.device}", where=where)
        hint = net.get_property("INFERENCE_PRECISION_HINT")
        if hint != self._hint():
            raise NetError(
                f"computes in {hint.get_type_name()}, not in {self._hint().get_type_name()}", where=where
            )
        if self.precision == "int8" and not _is_quantised(net):
            raise NetError(
                "nothing of it computes in int8; want a file that was quantised with a calibration",
                where=where,
            )
        runtime = f"{NAME} {self.version.partition('-')[0]} {', '.join(devices)}"
        return OpenVinoExecutable(spec, net, runtime, self.precision, make)


def _ports(what: str, declared: Mapping[str, TensorSpec], ports: list[Any], net: str) -> None:
    """Check that a file has the tensors that addon.json says; another dtype would be converted unasked."""
    names = [next((name for name in port.names if name in declared), port.any_name) for port in ports]
    if set(declared) != set(names):
        raise NetError(
            f"addon.json names the {what}s {sorted(declared)}, the file has {sorted(names)}",
            where=f"net '{net}'",
        )
    for name, port in zip(names, ports, strict=True):
        real = str(port.element_type.to_dtype())
        if real != declared[name].dtype:
            raise NetError(
                f"addon.json says that {name} is {declared[name].dtype}, in the file it is {real}",
                where=f"net '{net}'",
            )


def _shape(spec: NetSpec, name: str, port: Any, axes: FixedAxes) -> Any:
    """Return an input's shape with the sizes that are known put in."""
    want, real = _wanted(spec, name, axes), port.partial_shape
    if not real.compatible(want):
        raise NetError(
            f"{name} shall be {shown(want)}, the file has {shown(real)}", where=f"net '{spec.name}'"
        )
    if real.rank.is_dynamic:
        return want
    return ov.PartialShape([one if one.is_static else other for one, other in zip(real, want, strict=True)])


def _wanted(spec: NetSpec, name: str, axes: FixedAxes) -> Any:
    said = spec.inputs[name].axes
    return ov.PartialShape([axes.get(axis, -1) if isinstance(axis, str) else axis for axis in said])


def _is_quantised(net: Any) -> bool:
    for node in net.get_runtime_model().get_ordered_ops():
        told = {key: str(node.rt_info[key].value) for key in ("layerType", "runtimePrecision")}
        if told["layerType"] in MULTIPLYING and told["runtimePrecision"].lower() in {"i8", "u8"}:
            return True
    return False
