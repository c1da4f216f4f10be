"""Warm painters on Ray: what comes back is what the embedded painter gives."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import painters_cluster
import pytest
import tiny_loras
import tiny_models
import yaml
from PIL import Image
from tiny_loras import Tensors, as_checkpoint, as_kohya
from tiny_models import request, setup

from deployments.painters import DEPLOYMENT, Painters, deploy
from models.diffusion.requests import PainterSetup
from models.errors import AdapterMismatch, InputError, WeightsInvalid
from models.painters import parcels, ray_painter
from models.painters.embedded import EmbeddedPainter
from models.painters.painter import UNWATCHED, FrameOrder, ScoredPicture, Shown, Watch
from models.painters.ray_cluster import APP, import_ray
from models.painters.ray_painter import RayPainter
from models.profiles import ROOT, Profile
from models.records import Adapter
from models.scores import Hero
from models.storage.files import fingerprint
from models.vision.likeness import encoder_fingerprint, encoder_of, see

tiny_world, base, lora = tiny_models.tiny_world, tiny_loras.base, tiny_loras.lora


@pytest.fixture
def embedded() -> EmbeddedPainter:
    return EmbeddedPainter()


def same(one: ScoredPicture, other: ScoredPicture) -> bool:
    return (one.image.tobytes(), one.scores) == (other.image.tobytes(), other.scores)


def noise(file: Path, seed: int = 1) -> str:
    Image.effect_noise((64, 64), 80 + seed).convert("RGB").save(file)
    return str(file)


def test_a_frame_has_the_embedded_painters_bytes_and_scores(
    painter: RayPainter, embedded: EmbeddedPainter, tiny_world: Profile
) -> None:
    shares: list[float] = []
    threads: set[threading.Thread] = set()

    def hear(share: float) -> None:
        shares.append(share)
        threads.add(threading.current_thread())

    order = FrameOrder(setup=setup(), request=request(3), reference=None, weights=painter.load(setup()).weights)
    assert same(painter.paint(order, Watch(hear)), embedded.paint(order, UNWATCHED))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert threads == {threading.current_thread()}


def test_what_is_loaded_is_what_the_embedded_painter_loads(
    painter: RayPainter, embedded: EmbeddedPainter, tiny_world: Profile
) -> None:
    assert painter.load(setup(with_controlnet=True)) == embedded.load(setup(with_controlnet=True))
    assert painter.machine().device == "cpu"


def test_pictures_travel_with_the_order(
    painter: RayPainter, embedded: EmbeddedPainter, tiny_world: Profile, tmp_path: Path
) -> None:
    own, reference = setup(with_controlnet=True), noise(tmp_path / "frame_001.png")
    asked = request(3, control=tiny_models.control(Path(reference)))
    order = FrameOrder(setup=own, request=asked, reference=reference, weights=painter.load(own).weights)
    with_control = painter.paint(order, UNWATCHED)
    assert same(with_control, embedded.paint(order, UNWATCHED))
    assert with_control.scores.consistency is not None
    one, other = Image.open(reference), with_control.image
    assert painter.similarity(own, one, other) == embedded.similarity(own, one, other)


def test_a_hero_is_recognised_as_by_the_embedded_painter(
    painter: RayPainter, embedded: EmbeddedPainter, tiny_world: Profile, tmp_path: Path
) -> None:
    profile = tiny_world.model_copy(update={"dino": tiny_models.tiny_dino(tmp_path / "dino")})
    own, file = setup().model_copy(update={"profile": profile}), tmp_path / "hero.json"
    shown, reference = (
        Shown(Image.open(noise(tmp_path / f"{n}.png", n)), Hero(found=True, box=(8, 8, 40, 56))) for n in (1, 2)
    )
    (seen,) = see(encoder_of(profile, "cpu"), [shown])
    file.write_text(tiny_models.calibration_of(seen, encoder_fingerprint(profile)).model_dump_json())
    found = [
        [each.likeness(own, *case) for each in (painter, embedded)]
        for case in ((str(file), shown, reference), (None, shown, reference), (str(file), shown, None))
    ]
    assert [one for one, _ in found] == [other for _, other in found]
    assert found[0][0] is not None
    assert None not in dict(found[0][0]).values()
    assert painter.likeness(own, None, shown, Shown(reference.image, None)) is None
    file.write_text("{}")
    for each in (painter, embedded):
        with pytest.raises(WeightsInvalid, match=re.escape(f"{file}: no calibration of this version")):
            each.likeness(own, str(file), shown, None)


def test_a_broken_sketch_is_the_same_error_and_names_the_persons_file(
    painter: RayPainter, embedded: EmbeddedPainter, tiny_world: Profile, tmp_path: Path
) -> None:
    own, sketch = setup(with_controlnet=True), tmp_path / "blank.png"
    Image.new("RGB", (64, 64), "white").save(sketch)
    asked = request(3, control=tiny_models.control(sketch, kind="sketch"))
    order = FrameOrder(setup=own, request=asked, reference=None, weights=painter.load(own).weights)
    said = []
    for each in (embedded, painter):
        with pytest.raises(InputError, match="the sketch is blank") as raised:
            each.paint(order, UNWATCHED)
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert str(sketch) in said[0]


def adapter(path: Path) -> Adapter:
    return Adapter(path=str(path), fingerprint=fingerprint(path), source=path.name)


def test_a_lora_that_does_not_fit_is_the_same_error(
    painter: RayPainter, embedded: EmbeddedPainter, tiny_world: Profile, lora: Tensors, tmp_path: Path
) -> None:
    deeper = {key.replace("layers.0", "layers.9"): value for key, value in lora["text_encoder"].items()}
    own = setup(adapter=adapter(as_kohya(tmp_path, {**lora, "text_encoder": deeper})))
    said = []
    for each in (embedded, painter):
        with pytest.raises(AdapterMismatch, match="is not a module of this base's") as raised:
            each.load(own)
        said.append(str(raised.value))
    assert said[0] == said[1]


@pytest.mark.usefixtures("tiny_world")
@pytest.mark.parametrize("layout", [as_kohya, as_checkpoint])
def test_a_lora_that_the_painter_does_not_have_travels_as_bytes(
    painter: RayPainter,
    lora: Tensors,
    layout: Callable[[Path, Tensors], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, embedded = setup(adapter=adapter(layout(tmp_path, lora))), EmbeddedPainter()

    def elsewhere(setup: PainterSetup) -> Any:
        packed = parcels.pack_setup(setup)
        packed["adapter"]["path"] = packed["adapter"]["path"].replace(str(tmp_path), "/on/another/machine")
        return packed

    monkeypatch.setattr(ray_painter, "pack_setup", elsewhere)
    order = FrameOrder(setup=own, request=request(3), reference=None, weights=painter.load(own).weights)
    assert same(painter.paint(order, UNWATCHED), embedded.paint(order, UNWATCHED))
    assert order.weights == embedded.load(own).weights


@pytest.mark.usefixtures("tiny_world")
def test_runs_that_name_different_loras_at_once_get_each_their_own(
    painter: RayPainter, embedded: EmbeddedPainter, lora: Tensors, tmp_path: Path
) -> None:
    stronger = {part: {key: 3 * value for key, value in own.items()} for part, own in lora.items()}
    setups = [setup()]
    for name, tensors in (("plain", lora), ("stronger", stronger)):
        (tmp_path / name).mkdir()
        setups.append(setup(adapter=adapter(as_kohya(tmp_path / name, tensors))))
    orders = [
        FrameOrder(setup=each, request=request(seed), reference=None, weights=embedded.load(each).weights)
        for seed in (1, 2)
        for each in setups
    ]
    with ThreadPoolExecutor(len(orders)) as runs:
        painted = list(runs.map(lambda order: painter.paint(order, UNWATCHED), orders))
    assert all(same(far, embedded.paint(order, UNWATCHED)) for far, order in zip(painted, orders, strict=True))
    assert len({far.image.tobytes() for far in painted}) == len(orders)


def test_other_weights_than_the_reports_are_not_painted_with(painter: RayPainter, tiny_world: Profile) -> None:
    weights = painter.load(setup()).weights.model_copy(update={"base": "0" * 64})
    with pytest.raises(WeightsInvalid, match="other weights than the run's report says: base;"):
        painter.paint(FrameOrder(setup=setup(), request=request(), reference=None, weights=weights), UNWATCHED)
    with pytest.raises(WeightsInvalid, match="report says: what compares heroes;"):
        painter.paint(FrameOrder(setup=setup(), request=request(), reference=None, encoder="0" * 64), UNWATCHED)


def test_a_run_of_another_version_is_refused_in_one_line(
    painter: RayPainter, tiny_world: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_painter, "code_version", lambda: "0123456789")
    with pytest.raises(InputError, match="another version of the code") as raised:
        painter.load(setup())
    assert "\n" not in str(raised.value)


def test_a_deployment_that_is_as_wanted_is_left_alone(address: str, painter: RayPainter) -> None:
    before = painters_cluster.pid_of(painter)
    assert deploy(Painters(address=address)) == "1 painter(s) are ready, on the CPU"
    assert painters_cluster.pid_of(painter) == before
    assert painter.count() == 1


def test_more_painters_than_cores_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="--replicas 900: they need 900 CPUs, the cluster has"):
        deploy(Painters(address=address, replicas=900))


ASK = """
import hashlib, json, sys
import psutil
from models.diffusion.requests import PainterSetup, PaintRequest
from models.painters.choose import painter
from models.painters.painter import UNWATCHED, FrameOrder, Watch
asked = json.load(open(sys.argv[1]))
setup, request = PainterSetup.model_validate(asked["setup"]), PaintRequest.model_validate(asked["request"])
far = painter(sys.argv[2])
weights = far.load(setup).weights
order = FrameOrder(setup=setup, request=request, reference=None, weights=weights)
shares = []
picture = far.paint(order, Watch(shares.append))
def cancel(share):
    raise LookupError
try:
    far.paint(order.model_copy(update={"request": request.model_copy(update={"steps": 500})}), Watch(cancel))
except LookupError:
    far.paint(order, UNWATCHED)
loaded = sorted({"torch", "diffusers", "transformers"} & set(sys.modules))
digest = hashlib.sha256(picture.image.tobytes()).hexdigest()
print(json.dumps([loaded, psutil.Process().memory_info().rss / 2**20, digest, shares[-1]]))
"""


def check_from_another_process(address: str, tmp_path: Path) -> None:
    """A process that asks at this address gets the picture, can cancel, imports no torch, and stays small."""
    asked, records = tmp_path / "asked.json", {"setup": setup(), "request": request(5)}
    asked.write_text(json.dumps({name: record.model_dump(mode="json") for name, record in records.items()}))
    command = [sys.executable, "-c", ASK, str(asked), address]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    loaded, mebibytes, digest, share = json.loads(ended.stdout.splitlines()[-1])
    own = EmbeddedPainter().paint(FrameOrder(setup=setup(), request=request(5), reference=None), UNWATCHED)
    assert digest == hashlib.sha256(own.image.tobytes()).hexdigest()
    assert (loaded, share) == ([], 1.0)
    assert mebibytes < 300


def test_the_asking_side_imports_no_torch_and_stays_small(address: str, tmp_path: Path, tiny_world: Profile) -> None:
    check_from_another_process(address, tmp_path)


def test_a_run_outside_the_cluster_asks_by_rays_client(address: str, tmp_path: Path, tiny_world: Profile) -> None:
    with painters_cluster.client_server(address, tmp_path) as client:
        check_from_another_process(client, tmp_path)


def test_the_file_for_kubernetes_is_a_configuration_of_these_painters() -> None:
    import_ray("127.0.0.1:0")
    from ray.serve.schema import ServeDeploySchema

    service = yaml.safe_load((ROOT / "deployments/rayservice.yaml").read_text("utf-8"))["spec"]
    serve = ServeDeploySchema.model_validate(yaml.safe_load(service["serveConfigV2"]))
    (app,) = serve.applications
    (deployment,) = app.deployments
    assert (app.name, deployment.name, app.import_path) == (APP, DEPLOYMENT, "deployments.painters:application")
    assert app.args == {**app.args, **Painters.model_validate(app.args).model_dump(include=set(app.args))}
    (workers,) = service["rayClusterConfig"]["workerGroupSpecs"]
    assert deployment.num_replicas == workers["replicas"]
    assert f"ray=={service['rayClusterConfig']['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_an_address_at_which_nothing_answers_is_one_line() -> None:
    nobody = subprocess.run(
        [sys.executable, "-c", CONNECT_TO_NOBODY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert nobody.stdout.startswith("PaintersUnreachable: no painter at 127.0.0.1:1 for 1 s"), nobody.stderr
    assert nobody.stdout.count("\n") == 1


CONNECT_TO_NOBODY = """
from models.errors import PaintersUnreachable
from models.painters.ray_painter import RayPainter
try:
    RayPainter("127.0.0.1:1", patience=1.0).machine()
except PaintersUnreachable as error:
    print(f"PaintersUnreachable: {error}")
"""
