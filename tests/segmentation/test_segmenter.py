"""The built-in network: shapes, weights that load, weights that must not."""

import pickle

import cv2
import numpy as np
import pytest
import torch

from segmentation import WeightsError, load_segmenter
from segmentation.compact import NetworkSegmenter, network_size
from segmentation.errors import PromptError
from segmentation.looks import SEVERAL, SINGLE, Look, blend
from segmentation.network import RobotNet, save_weights
from segmentation.prompts import Prompt, parse_prompts
from segmentation.weights_store import DEFAULT_WEIGHTS


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
    assert network_size(480, 640, 320 * 416) == (320, 416)
    assert network_size(480, 640, 384 * 512) == (384, 512)
    assert network_size(1080, 1920, 320 * 416) == (288, 480)
    for h, w in ((212, 319), (3000, 50), (10, 4000)):
        a, b = network_size(h, w, 320 * 416)
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


def test_unknown_segmenters(cache):
    with pytest.raises(WeightsError, match="expected default, several, robotseg, sam2, or an existing file"):
        load_segmenter("nonsense")
    for name in ("robotseg", "sam2"):
        with pytest.raises(WeightsError, match=r"none were added; get .*https://github.com/.*urdfit weights add"):
            load_segmenter(name)


def test_prompts_need_frames_that_can_be_looked_at_twice(segmenter):
    prompts = parse_prompts([("click", "0:1,1,+")])
    with pytest.raises(TypeError, match="generator"):
        list(segmenter.segment((np.zeros((48, 64, 3), np.uint8) for _ in range(2)), prompts))
    with pytest.raises(PromptError, match="the video has 2 frames"):
        list(segmenter.segment([np.zeros((48, 64, 3), np.uint8)] * 2, parse_prompts([("click", "2:1,1,+")])))


def test_the_frame_before_is_remembered_until_the_scene_changes(weights, monkeypatch):
    rng = np.random.default_rng(0)
    here, there = (cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (128, 96)) for _ in range(2))
    asked = []
    answer = NetworkSegmenter._answer

    def recorded(self, frame, look, before=None):
        asked.append(before)
        return answer(self, frame, look, before)

    monkeypatch.setattr(NetworkSegmenter, "_answer", recorded)
    segmenter = load_segmenter(weights)
    segmenter.looks = SEVERAL
    list(segmenter.segment([here, np.clip(here * 0.8, 0, 255).astype(np.uint8), there]))
    # a new scene is looked at in every size, to see how large the robot is; nothing is recalled there
    remembered = [b is not None for b in asked]
    assert remembered[:4] == [False] * 4 and remembered[-4:] == [False] * 4
    assert remembered[4:-4] and all(remembered[4:-4]) and len(remembered) < 12


def test_looks_are_averaged_in_the_pictures_own_direction(weights):
    rng = np.random.default_rng(1)
    frame = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (160, 128))
    segmenter = load_segmenter(weights)
    mirrored = segmenter._answer(np.ascontiguousarray(frame[:, ::-1]), Look(128 * 160, mirrored=True))
    plain = segmenter._answer(frame, Look(128 * 160))
    assert torch.allclose(mirrored.flip(2), plain, atol=0.02)  # the same picture reaches the network
    small = torch.tensor([[[0.8, 0.8]], [[0.1, 0.1]], [[0.1, 0.1]]])
    large = torch.tensor([[[0.0] * 4] * 2, [[1.0] * 4] * 2, [[0.0] * 4] * 2])
    both = blend([small, large])
    assert torch.allclose(both, torch.tensor([0.4, 0.55, 0.05])[:, None, None].expand(3, 2, 4))


def test_how_it_looks_follows_how_much_is_robot():
    share = torch.zeros(3, 10, 10)
    share[0] = 1
    assert SEVERAL.of(share) == SEVERAL.far and SINGLE.of(share) == SINGLE.far
    share[0, :2], share[1, :2] = 0, 1
    assert SEVERAL.of(share) == SEVERAL.near and SINGLE.of(share) == SINGLE.near
    assert set(SEVERAL.near) | set(SEVERAL.far) == set(SEVERAL.first)
    assert load_segmenter("several").looks == SEVERAL and load_segmenter().looks == SINGLE


class Painted(NetworkSegmenter):
    """Sees grey: value/255 is the probability; left half arm, right half gripper of each robot: blue says which."""

    def __init__(self):
        self.looked = []
        self.looks = SEVERAL

    def _answer(self, frame, look, before=None):
        self.looked.append(frame.copy())
        robot = frame[..., 0].astype(np.float32) / 255
        gripper = frame[..., 2] > 0
        return torch.from_numpy(np.stack([1 - robot, np.where(gripper, 0, robot), np.where(gripper, robot, 0)]))


def two_robots(count=9):
    """Two robots that walk to the right, each with a gripper on its right; the second one starts at x = 60."""
    frames = []
    for t in range(count):
        image = np.zeros((60, 120, 3), np.uint8)
        for x in (5 + 2 * t, 60 + 2 * t):
            image[20:40, x : x + 20, 0] = 230
            image[25:35, x + 20 : x + 28] = (230, 0, 1)
        frames.append(image)
    return frames


@pytest.mark.parametrize("frame", [0, 4, 8])
@pytest.mark.parametrize(
    ("kind", "form"), [("click", "{x},30,+"), ("box", "{a},10,{b},50"), ("mask", "{file}"), ("click", "{other},30,-")]
)
def test_of_two_robots_the_one_pointed_at_stays_before_and_after(tmp_path, frame, kind, form):
    frames = two_robots()
    x = 15 + 2 * frame
    mask = np.zeros((60, 120), np.uint8)
    mask[20:40, 5 + 2 * frame : 25 + 2 * frame] = 255
    mask[25:35, 25 + 2 * frame : 33 + 2 * frame] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    text = form.format(x=x, other=x + 55, a=x - 14, b=x + 24, file=tmp_path / "m.png")
    prompts = parse_prompts([(kind, f"{frame}:{text}")])
    segmenter = Painted()
    found = list(segmenter.segment(frames, prompts))
    assert len(found) == 9 and [m["robot"].dtype for m in found] == [np.float32] * 9
    for t, masks in enumerate(found):
        left = (frames[t][..., 0] > 0) & (np.arange(120) < 35 + 2 * t)
        gripper = left & (frames[t][..., 2] > 0)
        assert np.array_equal(masks["robot"] > 0.5, left), t
        assert np.array_equal(masks["gripper"] > 0.5, gripper) and np.array_equal(masks["arm"] > 0.5, left & ~gripper)
    order = [index for index, _ in segmenter.track(frames, prompts)]
    assert order == [frame, *range(frame - 1, -1, -1), *range(frame + 1, 9)]


def test_a_later_prompt_corrects_from_its_frame_on():
    frames = two_robots()
    prompts = parse_prompts([("click", "2:20,30,+"), ("click", "6:80,30,+"), ("click", "6:25,30,-")])
    found = list(Painted().segment(frames, prompts, ("robot",)))
    for t, masks in enumerate(found):
        assert set(masks) == {"robot"}
        columns = np.flatnonzero((masks["robot"] > 0.5).any(0))
        assert columns.max() < 60 if t < 6 else columns.min() >= 60, t


def test_a_part_is_taken_from_the_other_part_and_dropped_from_the_robot():
    frames = two_robots(4)
    found = list(Painted().segment(frames, parse_prompts([("click", "0:85,30,-"), ("click", "gripper@1:86,30,-")])))
    assert (found[0]["robot"][30] > 0.5).sum() == (found[0]["arm"][30] > 0.5).sum() + 8  # the left gripper's 8
    mask = np.zeros((60, 120), bool)
    mask[22:38, 15:25] = True  # half of the arm is called gripper
    found = list(Painted().segment(frames, [Prompt(0, "gripper", mask=mask)]))
    assert np.array_equal(found[0]["gripper"] > 0.5, mask) and not (found[0]["arm"][mask] > 0.5).any()
    assert (found[0]["robot"][mask] > 0.5).all()


def test_pointing_at_nothing_is_told_not_ignored():
    for kind, text in (("click", "1:100,5,+"), ("box", "1:90,0,119,10"), ("click", "gripper@1:10,30,+")):
        with pytest.raises(PromptError, match=r"the built-in network sees no (robot|gripper)"):
            list(Painted().segment(two_robots(3), parse_prompts([(kind, text)])))


def test_a_frame_of_another_kind_is_refused(segmenter):
    with pytest.raises(ValueError, match="uint8 RGB"):
        next(iter(segmenter.segment([np.zeros((4, 4), np.uint8)])))
