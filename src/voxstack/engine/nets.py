"""Make an addon's nets ready as a profile says: by which engine, at which sizes, compiled now or before."""

import shlex
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from voxstack.core.compiled import compiled, variants
from voxstack.core.errors import AddonError, ConfigError, suggest
from voxstack.core.executables import Executable, FixedAxes
from voxstack.core.nets import Net
from voxstack.core.site import Entry
from voxstack.engine.artefacts import Artefacts, write_artefacts
from voxstack.engine.cores import cores
from voxstack.engine.library import folders
from voxstack.engine.manifest import NetPlan
from voxstack.engine.priority import stand_back
from voxstack.engine.scheduled import ScheduledNet
from voxstack.engine.scheduler import lane_of
from voxstack.engine.shared import SHARED
from voxstack.runtimes.named import choose_engine
from voxstack.stack.addon import Addon
from voxstack.stack.deployment import NO_DEPLOYMENT, Deployment
from voxstack.stack.files import SUFFIX
from voxstack.stack.profiles import DEFAULT, STANDARD, NetProfile, Profile, check_selectors, shape_policy

__all__ = [
    "EFFECTS",
    "Running",
    "compile_nets",
    "file_sizes",
    "load_nets",
    "plan_nets",
    "profile_names",
    "resolve",
    "weights",
]

EFFECTS = "effects: $.stack"
"""Where effects stand that are asked for, as errors show it."""


@dataclass(frozen=True)
class Running:
    """Say how the nets of addons run, before it is known which addons.

    profile         name; None: what the deployment file says, else "cpu"
    deployment      what the operator says
    artefacts       folder of nets compiled ahead of time; None: what the deployment file says
    threads         of one net run, whatever the profile says
    effects         entries of blocks behind a voice's last one; None: what the deployment file says
    unsaid_threads  of one net run where the profile says nothing; None: as many as there are cores, which
                    is best for one request at a time
    """

    profile: str | None = None
    deployment: Deployment = NO_DEPLOYMENT
    artefacts: Path | None = None
    threads: int | None = None
    effects: tuple[Entry, ...] | None = None
    unsaid_threads: int | None = None

    def effects_of(self, addon: str) -> Sequence[Entry]:
        """Return what changes the sound of an addon behind its last block."""
        return self.deployment.effects(addon) if self.effects is None else self.effects

    def effects_path(self, addon: str) -> str:
        """Return where these entries stand, as errors show it."""
        return EFFECTS if self.effects is not None else self.deployment.effects_path(addon)

    @property
    def name(self) -> str:
        return self.profile or self.deployment.config.profile or DEFAULT


def profile_names(addon: Addon, deployment: Deployment = NO_DEPLOYMENT) -> list[str]:
    """Return the names of all profiles that an addon can run under."""
    stated = deployment.profiles(addon.name)
    return sorted({*STANDARD, *addon.config.profiles, *(name for layer in stated for name in layer)})


def resolve(addon: Addon, running: Running, *, user: Addon | None = None) -> Profile:
    """Return a profile as it holds for an addon; `user` is the voice that a vocoder is loaded for.

    Raises:   ConfigError if neither the addon, nor its user, nor the deployment file knows it, or if the
              file speaks of a net that the addon does not have
    """
    name, deployment = running.name, running.deployment
    own = deployment.config.addons.get(addon.name)
    for key, stated in own.profiles.items() if own else ():
        check_selectors(stated, addon.specs, path=deployment.where(f"$.addons.{addon.name}.profiles.{key}"))
    known = {*profile_names(addon, deployment), *(profile_names(user, deployment) if user else ())}
    if name not in known:
        raise ConfigError(f"no profile '{name}'{suggest(name, known)}", where=(user or addon).name)
    of_addons = [STANDARD, *([user.config.profiles] if user else []), addon.config.profiles]
    of_file = [layer for layer in deployment.profiles(addon.name) if name in layer]
    layers = [*of_addons, *of_file]
    artefacts = running.artefacts or deployment.artefacts(name, addon.name)
    return Profile(
        name=name,
        layers=tuple(layer[name].nets for layer in layers if name in layer),
        chunks=tuple(layer[name].chunks for layer in layers if name in layer),
        artefacts=None if artefacts is None else artefacts / addon.name,
        said_in=deployment.file if of_file else None,
        threads=running.threads or 0,
        cores=running.unsaid_threads or cores(),
    )


def plan_nets(addon: Addon, profile: Profile) -> dict[str, NetPlan]:
    """Return how each net of an addon is made ready; raise ConfigError if a profile asks too much."""
    return {name: _plan(addon, profile, name) for name in addon.specs}


def load_nets(addon: Addon, profile: Profile) -> dict[str, Net]:
    """Make an addon's nets ready; those that a voice of this process has loaded already are used again."""
    plans = plan_nets(addon, profile)
    compiled_nets = _artefacts(addon, profile)

    def load(name: str) -> Net:
        plan = plans[name]
        return SHARED.get(_key(plan, profile), lambda: _load(addon, profile, name, plan, compiled_nets))

    # Those who speak go first; but threads that an engine keeps would stand back for good, like their maker.
    stands_back = not any(plan.engine.keeps_threads for plan in plans.values())
    with ThreadPoolExecutor(
        cores(), thread_name_prefix="voxstack-load", initializer=stand_back if stands_back else None
    ) as pool:
        # Biggest first, so that no core waits at the end for a big one.
        names = sorted(plans, key=lambda name: -addon.files.size(plans[name].file))
        return dict(zip(names, pool.map(load, names), strict=True))


def file_sizes(addon: Addon, profile: Profile) -> dict[str, int]:
    """Return the bytes of each net's file in the addon: the one that the profile chooses."""
    return {name: addon.files.size(plan.file) for name, plan in plan_nets(addon, profile).items()}


def weights(addon: Addon, profile: Profile) -> dict[Hashable, int]:
    """Return the bytes of each net's file by the net's key; nets of equal keys are one in memory."""
    plans = plan_nets(addon, profile).values()
    return {_key(plan, profile): addon.files.size(plan.file) for plan in plans}


def _key(plan: NetPlan, profile: Profile) -> Hashable:
    return plan.source, repr(plan.spec), plan.engine, plan.shapes, profile.artefacts


def compile_nets(addon: Addon, profile: Profile, out: Path) -> list[Path]:
    """Compile an addon's nets into `out`, in a folder of the addon's name; return the files written."""
    plans = plan_nets(addon, profile)
    return write_artefacts(
        out / addon.name,
        plans,
        {name: addon.read(plan.file) for name, plan in plans.items()},
        addon=addon.name,
        version=addon.config.version,
        profile=profile.name,
    )


def _plan(addon: Addon, profile: Profile, name: str) -> NetPlan:
    spec = addon.specs[name]
    where = f"{addon.name}: profile '{profile.name}', net '{name}'"
    chosen = profile.of(spec)
    choice = profile.choice(chosen)
    engine = choose_engine(chosen.runtime or "", choice, where=where)
    file = _file(addon, name, chosen, where)
    shapes = shape_policy(spec, chosen.shapes)
    if engine.needs_sizes and not shapes.is_fixed and spec.ragged is not None:
        raise ConfigError(
            f"runtime {engine.name} needs every size fixed; "
            'state "shapes": "fixed", "buckets" or {"buckets": […]}',
            where=where,
        )
    variants(spec, shapes)  # says what does not fit, before anything is loaded
    return NetPlan(spec, engine, shapes, file, addon.config.files[file])


def _file(addon: Addon, name: str, chosen: NetProfile, where: str) -> str:
    files = addon.config.nets[name].variants
    if chosen.precision == "int8" and "int8" not in files:
        raise ConfigError(
            "it has no int8 file; import the model again with one, or choose another", where=where
        )
    return addon.file_of(name, "int8" if chosen.precision == "int8" else chosen.runtime or "")


def _artefacts(addon: Addon, profile: Profile) -> Artefacts | None:
    if profile.artefacts is None:
        return None
    return Artefacts.open(profile.artefacts, remedy=_remedy(addon, profile))


def _load(addon: Addon, profile: Profile, name: str, plan: NetPlan, kept: Artefacts | None) -> Net:
    if kept is None and plan.engine.needs_artefact:
        raise AddonError(
            f"runtime {plan.engine.name} compiles nothing while it serves; {_remedy(addon, profile)}, "
            "and say where they are: --artefacts DIR",
            where=f"{addon.name}: profile '{profile.name}', net '{name}'",
        )
    data = addon.read(plan.file) if kept is None else b""

    def make(axes: FixedAxes) -> Executable:
        if kept is None:
            return plan.engine.build(plan.spec, data, axes)
        return plan.engine.restore(plan.spec, kept.read(name, plan, axes), axes)

    choice = profile.choice(profile.of(plan.spec))
    net = compiled(plan.spec, plan.shapes, make, threads=choice.threads, locked=plan.engine.locks_sizes)
    return ScheduledNet(
        net,
        lane_of(choice.device),
        threads=choice.threads,
        can_stand_back=not plan.engine.keeps_threads,
    )


def _remedy(addon: Addon, profile: Profile) -> str:
    """Return the command that compiles an addon's nets, by its path where its name would not find it."""
    path = Path(addon.files.where)
    places = [folder / (addon.name + suffix) for folder in folders() for suffix in ("", SUFFIX)]
    found = next((place.resolve() for place in places if place.exists()), None)
    words = [addon.name if found == path.resolve() else str(path), "--profile", profile.name]
    if profile.said_in is not None:
        words += ["--deployment", str(profile.said_in)]
    return f"compile its nets: voxstack compile {shlex.join(words)} --out DIR"
