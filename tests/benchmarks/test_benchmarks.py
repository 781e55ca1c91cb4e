"""Benchmarks compare with what computes the same, and say so when it does not."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
import yaml

from benchmarks import __main__ as command
from benchmarks import attacks, few_images, gradients, page, resolution, surfaces, universality
from benchmarks.inputs import scan
from benchmarks.rows import Growth, Row, exponent, growth_of, operations, peak_megabytes
from nls.experiments.table2 import Spec
from nls.geometry.files import write_mesh
from nls.geometry.meshing import mesh_zero_level
from nls.geometry.octree import Grid
from nls.levelset import values_and_jacobian
from nls.reconstruction.frame import Frame
from nls.reconstruction.poisson import Poisson

CPU = torch.device("cpu")


def row(same=True):
    return Row("work", 0.5, "another program", 2.0, 0.25, "1 and 1", same)


def test_exponents_of_powers():
    sizes = (10, 20, 80)
    assert exponent(sizes, tuple(3e-3 * n**1.5 for n in sizes)) == pytest.approx(1.5)


def test_peak_memory_is_that_of_the_call():
    held = np.ones(4_000_000)
    peak = peak_megabytes(lambda: np.ones(8_000_000).sum(), CPU)
    if peak is None:
        pytest.skip("this system does not tell")
    assert 55 < peak < 110
    assert peak_megabytes(lambda: held[:10].sum(), CPU) < 20


def test_growth_of_work_that_doubles():
    grown = growth_of(
        "add", "numbers", (100_000, 400_000), lambda n: lambda: np.sort(np.arange(n)[::-1]), CPU
    )
    assert grown.sizes == (100_000, 400_000)
    assert grown.seconds[1] > grown.seconds[0]


def test_operations_count_products_under_gradients_of_the_input():
    x, w = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5)
    assert operations(lambda: torch.autograd.grad((x @ w).sum(), x)) == 2 * 2 * 3 * 4 * 5


@pytest.mark.parametrize("same", [True, False])
def test_the_command_ends_with_1_if_the_two_did_not_compute_the_same(same, monkeypatch, capsys, tmp_path):
    grown = Growth("work", "images", (1, 2, 4), (0.1, 0.2, 0.4), (1.0, 2.0, 4.0))
    file = SimpleNamespace(rows=lambda quick, device: [row(same)], growth=lambda quick, device: [grown])
    monkeypatch.setattr(command, "FILES", [file])
    monkeypatch.setattr(page, "peak_rate", lambda device: 1e11)
    out = tmp_path / "page.md"
    assert command.main(["--quick", "--json", "--page", str(out)]) == (0 if same else 1)
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["ratio"] == 4
    assert found["growth"][0]["time_exponent"] == pytest.approx(1)
    assert found["growth"][0]["memory_exponent"] == pytest.approx(1)
    assert found["machine"]["peak_gflops"] == 100
    written = out.read_text(encoding="utf-8")
    assert ("NOT THE SAME" in written) != same
    assert "| work | 500 ms | another program | 2 s | 4 | 25% |" in written


def test_an_attack_that_leaves_more_standing_is_not_the_same(monkeypatch):
    monkeypatch.setattr(attacks, "STEPS", 3)
    model, (x, y) = attacks.classifier(CPU, 10), attacks.images(CPU)
    weak = attacks._compare("none", lambda model, x, y, eps: x, model, x[-24:], y[-24:], 24, 0.3, CPU, 1)
    assert not weak.same
    for name, attack in attacks.ALTERNATIVES.items():
        assert attacks._compare(name, attack, model, x[-24:], y[-24:], 24, 0.1, CPU, 1).same


def test_the_plain_geometric_svm_has_the_loss_of_ours(monkeypatch):
    monkeypatch.setattr(few_images, "BATCH", 16)
    monkeypatch.setattr(few_images, "separator", partial(few_images.separator, steps=10))
    (found,) = few_images.rows(True, CPU)
    assert found.same
    monkeypatch.setattr(few_images, "WEIGHT", 0.1)
    ours = few_images.GeometricSVM
    monkeypatch.setattr(few_images, "GeometricSVM", lambda regularization, **more: ours(0.05, **more))
    (found,) = few_images.rows(True, CPU)
    assert not found.same


def test_the_plain_surface_step_has_the_loss_of_ours(monkeypatch):
    points = scan(5000, CPU)
    network = surfaces._network(CPU, 32, 3)
    step, plain = surfaces.Step(network, points), surfaces.PlainStep(network, points)
    torch.manual_seed(0)
    batches = [points[torch.randperm(5000)[:2000]] for _ in range(4)]
    ours, theirs = (
        torch.stack([each.loss(batch).detach() for batch in batches]).mean() for each in (step, plain)
    )
    assert ours == pytest.approx(float(theirs), rel=0.05)
    assert surfaces._meshing(network, CPU, 32).same


def test_theorem_1_against_dense_layers():
    (found,) = universality.rows(True, CPU)
    assert found.same
    assert found.peak_share < 1


def test_wrong_arguments_end_with_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--threads", "0"])
    assert "1 or more" in capsys.readouterr().err


def test_a_signed_distance_is_that_of_the_ball():
    ball = trimesh.creation.icosphere(4, radius=2.0)
    ball.apply_translation((1, 0, 0))
    frame = Frame.of(np.asarray(ball.vertices))
    distance = resolution.SignedDistance(ball, frame)
    points = torch.rand(50, 3) * 2 - 1
    values, jacobian = values_and_jacobian(distance, points)
    torch.testing.assert_close(values[:, 0], points.norm(dim=1) - 1, rtol=0, atol=3e-3)
    torch.testing.assert_close(jacobian[:, 0].norm(dim=1), torch.ones(50))
    mesh = mesh_zero_level(distance, Grid(40))
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(np.ones(len(mesh.vertices)), abs=6e-3)


def test_a_run_is_meshed_again_at_every_resolution(tmp_path, monkeypatch):
    """The truth at each of them, then the run's own surface: figures fall with the cells."""
    ball = trimesh.creation.icosphere(4, radius=0.7)
    write_mesh(tmp_path / "scan.ply", ball)
    pair = SimpleNamespace(scan=tmp_path / "scan.ply", registration=tmp_path / "scan.ply")
    monkeypatch.setattr(resolution, "load_scans", lambda root, name, numbers: [pair])
    method = Poisson(depth=4)
    common = {"suite": "s", "experiment": "table2", "run": "poisson-000", "name": "poisson", "method": method}
    about = {"data": "bodies", "scan": 0, "scan_name": "000", "scan_file": None, "truth_file": None}
    spec = Spec(**common, **about, resolution=32, max_points=100_000, seed=0, looks=[])
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    found = list(resolution.rows([tmp_path], tmp_path, (16, 32), (4, 5)))
    assert [(row.name, row.resolution, row.hands) for row in found] == [
        ("truth 000", 16, None),
        ("truth 000", 32, None),
        ("poisson-000", 4, None),
        ("poisson-000", 5, None),
    ]
    assert found[0].chamfer_l2 > found[1].chamfer_l2
    assert found[2].chamfer_l2 > found[3].chamfer_l2


def test_passes_of_a_network_are_counted_image_by_image():
    network, counted = torch.nn.Linear(2, 2), gradients.Passes()
    counted.watch(network)
    points = torch.zeros(5, 2, requires_grad=True)
    with torch.no_grad():
        network(points)
    torch.autograd.grad(network(points).sum(), points)
    network(points[:3])
    assert (counted.forward, counted.backward) == (13, 5)
