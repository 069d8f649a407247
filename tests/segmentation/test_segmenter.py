"""The built-in network: shapes, weights that load, weights that must not."""

import pickle

import numpy as np
import pytest
import torch

from segmentation import WeightsError, load_segmenter
from segmentation.network import RobotNet
from segmentation.segmenter import DEFAULT_WEIGHTS, network_size
from segmentation.training.train import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    save_weights(RobotNet(), path)
    return path


def test_the_network_keeps_the_size_and_folding_its_norms_changes_nothing():
    torch.manual_seed(0)
    network = RobotNet().eval()
    for module in network.modules():  # norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    image = torch.rand(2, 3, 64, 96) * 255
    with torch.no_grad():
        before = network(image)
        after = network.fuse()(image)
    assert before.shape == (2, 3, 64, 96)
    assert torch.allclose(before, after, atol=1e-3)
    assert sum(p.numel() for p in network.parameters()) < 3.6e6


@pytest.fixture(scope="module")
def segmenter(weights):
    return load_segmenter(weights)


@pytest.mark.parametrize("size", [(240, 320), (212, 319), (1080, 1920), (30, 20), (1, 1)])
def test_probabilities_have_the_frames_own_size(segmenter, size):
    frame = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    out = next(iter(segmenter.segment([frame])))
    assert set(out) == {"robot", "arm", "gripper"}
    for mask in out.values():
        assert mask.shape == size and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1 + 1e-3
    assert np.allclose(out["robot"], out["arm"] + out["gripper"], atol=1e-5)


def test_frames_are_taken_one_at_a_time(segmenter):
    taken = []

    def frames():
        for i in range(3):
            taken.append(i)
            yield np.zeros((48, 64, 3), np.uint8)

    stream = segmenter.segment(frames())
    next(stream)
    assert taken == [0]
    assert len(list(stream)) == 2


def test_network_size_keeps_the_shape_and_the_area():
    assert network_size(480, 640) == (320, 416)
    assert network_size(480, 640, 384 * 512) == (384, 512)
    assert network_size(1080, 1920) == (288, 480)
    for h, w in ((212, 319), (3000, 50), (10, 4000)):
        a, b = network_size(h, w)
        assert a % 32 == b % 32 == 0 and min(a, b) >= 32


def test_the_default_weights_ship_and_are_small():
    assert DEFAULT_WEIGHTS.stat().st_size < 12e6
    assert (DEFAULT_WEIGHTS.parent / "MODEL_CARD.md").is_file()
    assert load_segmenter().parts == ("robot", "arm", "gripper")


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_and_broken_weights_are_refused(tmp_path, weights, capsys):
    cases = {}
    cases["code.pt"] = pickle.dumps(Evil())
    cases["text.pt"] = b"not weights"
    cases["empty.pt"] = b""
    cases["cut.pt"] = weights.read_bytes()[:5000]
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    torch.save({"evil": Evil()}, tmp_path / "wrapped.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    state = torch.load(weights, weights_only=True)
    key = next(iter(state))
    torch.save({**state, key: torch.zeros(2, 2)}, tmp_path / "shape.pt")
    torch.save({**state, key: torch.full_like(state[key], float("nan"))}, tmp_path / "nan.pt")
    for name in [*cases, "wrapped.pt", "other.pt", "list.pt", "shape.pt", "nan.pt"]:
        with pytest.raises(WeightsError) as error:
            load_segmenter(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)
    assert "this ran" not in capsys.readouterr().out


def test_unknown_and_later_segmenters():
    with pytest.raises(WeightsError, match="neither 'default' nor an existing file"):
        load_segmenter("nonsense")
    for name in ("robotseg", "sam2"):
        with pytest.raises(WeightsError, match="not available in this version"):
            load_segmenter(name)


def test_a_frame_of_another_kind_is_refused(segmenter):
    with pytest.raises(ValueError, match="uint8 RGB"):
        next(iter(segmenter.segment([np.zeros((4, 4), np.uint8)])))
