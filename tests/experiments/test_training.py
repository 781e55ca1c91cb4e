import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nls.data import ImageDataset, Split
from nls.engine.finished import MadeFrom
from nls.engine.runs import Run
from nls.engine.settings import RunSpec
from nls.errors import UserError
from nls.experiments.kept_weights import KeptWeights
from nls.experiments.training import Training, _rate, train
from nls.objectives.cross_entropy import Standard

NOTHING = torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long)


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def set_to(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_the_rates_of_the_schedules():
    common = {"epochs": 10, "learning_rate": 0.1}
    cyclic = Training(**common, schedule="cyclic")
    assert [_rate(cyclic, 10, step) for step in (0, 20, 40, 70, 100)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    cosine = Training(**common, schedule="cosine")
    assert [_rate(cosine, 10, step) for step in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    drops = Training(**common, milestones=[3, 6], decay=0.1)
    assert [_rate(drops, 10, step) for step in (29, 30, 59, 60)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_the_running_average_is_that_of_the_formula():
    model = nn.Sequential(nn.BatchNorm1d(3))
    set_to(model, 1e6)
    kept = KeptWeights(model, 0.5, NOTHING, 0.1, 0)
    decays = [0, 1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5, 0.5]
    expected = torch.zeros(3)
    for step, decay in enumerate(decays):
        with torch.no_grad():
            model[0].weight.fill_(float(step))
        model(torch.randn(4, 3))
        kept.step(step)
        expected = decay * expected + (1 - decay) * step
    result = kept.result()
    torch.testing.assert_close(result[0].weight.detach(), expected)
    assert result[0].num_batches_tracked == len(decays)
    assert not torch.equal(result[0].running_mean, model[0].running_mean)
    assert not result.training


def test_the_best_epoch_on_held_out_images_is_kept_and_travels_with_a_checkpoint():
    images = torch.tensor([[0.9, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.1]]).reshape(2, 1, 2, 2)
    held_out = images, torch.tensor([0, 1])
    model = network()
    kept = KeptWeights(model, 0.0, held_out, 0.2, 0)
    good = torch.tensor([[1.0] * 4, [-1.0] * 4])
    scores = []
    for weights, bias in ((good * 0, 0.0), (good, -2.0), (good, -9.0)):
        with torch.no_grad():
            model[1].weight.copy_(weights)
            model[1].bias.copy_(torch.tensor([bias, -bias]))
        scores.append(kept.end_epoch()["held_out_robust_accuracy"])
    assert scores == [0.5, 1.0, 0.5]
    other = network()
    resumed = KeptWeights(other, 0.0, held_out, 0.2, 0)
    resumed.load_state_dict(kept.state_dict())
    for one in (kept, resumed):
        result = one.result()
        assert torch.equal(result[1].weight, good)
        assert torch.equal(result[1].bias, torch.tensor([-2.0, 2.0]))
        assert one.held_out() == {"accuracy": 1.0, "robust_accuracy": 1.0}


def test_of_epochs_that_withstand_no_attack_the_last_of_the_most_accurate_is_kept():
    images = torch.tensor([[0.9, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.1]]).reshape(2, 1, 2, 2)
    model = network()
    kept = KeptWeights(model, 0.0, (images, torch.tensor([0, 1])), 1.0, 0)
    histories = []
    for bias in (-3.7, -2.0, -2.5, -3.7):
        with torch.no_grad():
            model[1].weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
            model[1].bias.copy_(torch.tensor([bias, -bias]))
        histories.append(kept.end_epoch())
    assert [one["held_out_robust_accuracy"] for one in histories] == [0, 0, 0, 0]
    assert [one["held_out_accuracy"] for one in histories] == [0.5, 1, 1, 0.5]
    assert torch.equal(kept.result()[1].bias, torch.tensor([-2.5, 2.5]))


class Recording:
    """A method that notes which images it has seen."""

    def __init__(self):
        self.seen = set()

    def __call__(self, model, images, labels, moment):
        self.seen |= {round(float(image.max() * 255)) for image in images}
        return model(images).square().mean()


def dataset(count):
    images = np.zeros((count, 1, 8, 8), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    split = Split(images, np.arange(count) % 3)
    return ImageDataset("counted", split, split, 3, "")


def run_in(folder):
    spec = RunSpec(suite="one", experiment="one", run="one")
    return Run(folder, spec, MadeFrom(), torch.device("cpu"))


def test_held_out_images_are_not_trained_on(tmp_path):
    method, run = Recording(), run_in(tmp_path)
    plan = Training(epochs=4, batch_size=8, learning_rate=1e-3, held_out=64, average=0.5)
    trained = train("convnet-small", method, dataset(112), plan, run, seed=0, eps=0.1)
    assert len(method.seen) == 48
    judged = [(row["held_out_robust_accuracy"], row["held_out_accuracy"]) for row in run.history]
    assert (trained.held_out["robust_accuracy"], trained.held_out["accuracy"]) == max(judged)


def test_too_few_images_are_one_line(tmp_path):
    plan = Training(epochs=1, batch_size=32, learning_rate=1e-3, held_out=60)
    with pytest.raises(UserError, match="24 images are left to train on, fewer than a batch of 32"):
        train("convnet-small", Recording(), dataset(84), plan, run_in(tmp_path), seed=0, eps=0.1)


def test_a_calibrated_network_is_saved_so_and_says_it(tmp_path):
    plan = Training(epochs=1, batch_size=8, learning_rate=0.3, held_out=64)
    runs = {}
    for calibrated in (False, True):
        (tmp_path / str(calibrated)).mkdir()
        runs[calibrated] = run_in(tmp_path / str(calibrated))
        own = plan.model_copy(update={"calibrate": calibrated})
        train("convnet-small", Standard(), dataset(112), own, runs[calibrated], seed=0, eps=0.1)
    plain, scaled = (load_file(runs[own].directory / "weights.safetensors") for own in (False, True))
    (note,) = runs[True].notes
    temperature = float(note.split(" divided by ")[1].split(",")[0])
    assert temperature > 1.01
    assert runs[False].notes == []
    for name in plain:
        last = name in list(plain)[-2:]
        torch.testing.assert_close(
            scaled[name], plain[name] / (temperature if last else 1), rtol=1e-2, atol=1e-6
        )
