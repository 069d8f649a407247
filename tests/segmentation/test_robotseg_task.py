"""Training of RobotSeg: the way through the network, which losses frames get, optimizer, weights that come out."""

import numpy as np
import pytest
import torch

pytest.importorskip("sam2", reason="RobotSeg needs the sam2 package")

from let_cases import DrawnClip, Listed, small_frame
from robotseg_reference import drawn_weights

from segmentation.errors import TrainingError, WeightsError
from segmentation.robotseg.behaviour import Behaviour
from segmentation.robotseg.build import build_robotseg, skeleton
from segmentation.robotseg.pictures import picture
from segmentation.robotseg.recognise import recognise
from segmentation.training import let_losses
from segmentation.training.export import save_weights
from segmentation.training.let_batches import Batch, BatchSettings
from segmentation.training.let_losses import LetWeights
from segmentation.training.let_objective import Truth, objective
from segmentation.training.let_optimizer import OptimizerSettings, cosine, layer_factor, make_optimizer
from segmentation.training.let_tracker import Tracked, Tracker
from segmentation.training.loop import LoopSettings, fit
from segmentation.training.robotseg_task import RobotSegSettings, RobotSegTask, make_network
from segmentation.weights_store import read_weights

SIZE = 128
SETTINGS = RobotSegSettings(BatchSettings(SIZE, 3, 2), OptimizerSettings(rate=1e-4, encoder_rate=2e-5))
UNUSED = {"no_mem_pos_enc"}  # in the original as well


@pytest.fixture(scope="module")
def weights():
    return drawn_weights(skeleton("robotseg", SIZE))


def task(weights, *clips) -> RobotSegTask:
    return RobotSegTask([Listed(list(clips))], SETTINGS, start=weights)


@pytest.fixture(scope="module")
def made(weights):
    return task(weights, DrawnClip(labels=1))


def batch_of(made: RobotSegTask, kind: str) -> Batch:
    return next(batch for n in range(60) if (batch := made.batch(n)).kind == kind)


# ---- the way through the network


def test_tracking_with_gradients_gives_what_the_predictor_gives(weights, made):
    behaviour = Behaviour(random_start=False, binary_first_memory=False)
    model = build_robotseg(weights, size=SIZE, behaviour=behaviour)
    frames = [small_frame(t)[0] for t in range(3)]
    state = model.init_state(frames)
    model.add_new_robot(state, 0, 0, "gripper")
    expected = [logits[0, 0] for _, _, logits in model.propagate_in_video(state, part="gripper")]
    own = made.network.eval()
    before, own.behaviour = own.behaviour, behaviour
    own.robot_prompt_generator.random_start = False
    pictures = torch.stack([picture(frame, SIZE) for frame in frames])[:, None]
    nothing = torch.zeros(1, 1, SIZE, SIZE)
    tracker = Tracker(own, [1], "automatic", nothing, nothing, np.random.default_rng(0))
    found = [frame.best[-1][0, 0].detach() for frame in tracker.track(pictures)]
    other = Tracker(own, [0], "automatic", nothing, nothing, np.random.default_rng(0)).track(pictures[:1])
    own.set_behaviour(before)
    for t, (mine, theirs) in enumerate(zip(found, expected)):
        # memories are kept in bfloat16 by the predictor, attention is summed in another order
        assert torch.allclose(mine, theirs, atol=0.02 * float(theirs.std())), t
    assert not torch.allclose(other[0].best[-1], found[0], atol=0.1)  # the part matters


@pytest.mark.parametrize("kind", ["mask", "click"])
def test_everything_learns(made, kind):
    batch, seen = batch_of(made, kind), []
    decoder = made.network.sam_mask_decoder
    hook = decoder.register_forward_pre_hook(lambda *_: seen.append(decoder.robot_tokens))
    loss, numbers = made.loss(batch)
    hook.remove()
    loss.backward()
    without = {name for name, p in made.network.named_parameters() if p.grad is None}
    made.optimizer.zero_grad()
    # a mask needs no tokens for a frame without memory; points need no mask's pointer
    spared = {
        "mask": {"no_mem_embed", "robot_prompt_generator.no_memory_prompt_embeddings_fg.weight"},
        "click": {"mask_downsample.weight", "mask_downsample.bias"},
    }
    assert without == UNUSED | spared[kind]
    assert set(numbers) == {"mask", "object", "semantic", "patch", "structure", "iou"}
    assert loss.item() == pytest.approx(sum(v for k, v in numbers.items() if k != "iou"), rel=1e-5)
    # class token and three object tokens, or three for every memory; corrections are decoded without any
    tokens = {"mask": [0, 4, 7], "click": [4, 0, 0, 0, 4, 7]}[kind]
    assert [0 if t is None else t.shape[1] for t in seen] == tokens and decoder.robot_tokens is None
    (shown,) = made.pictures(batch).values()
    assert shown.shape == (2 * SIZE, (3 if kind == "click" else 2) * SIZE, 3) and shown.dtype == np.uint8


# ---- the objective


def frame(features: float, *logits: float, structure: bool = False) -> Tracked:
    masks = [torch.full((1, 3, 16, 16), v) for v in logits]
    return Tracked(
        torch.full((1, 2, 4, 4), features),
        masks,
        [torch.full((1, 3), 0.5) for _ in logits],
        [m[:, :1] for m in masks],
        [torch.full((1, 1), 1.0) for _ in logits],
        torch.zeros(1, 4, 1, 1) if structure else None,
    )


def test_which_losses_a_frame_gets():
    mask, known = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    mask[..., :8] = 1
    labelled, rough = Truth(mask, known), Truth(rough=torch.full((1, 1, 1, 1), 0.25))
    weights = LetWeights(object=2.0, patch=3.0, structure=5.0)
    clip = [frame(1.0, 0.0, 1.0), frame(1.0, 2.0), frame(1.0, 3.0), frame(1.0, 4.0, structure=True)]
    loss, numbers = objective(clip, [labelled, rough, Truth(), labelled], weights)
    ious = torch.full((1, 3), 0.5)
    offered = [torch.full((1, 3, 16, 16), v) for v in (0.0, 1.0, 4.0)]
    assert numbers["mask"] == pytest.approx(
        sum(let_losses.mask_loss(m, ious, mask, known, weights).item() for m in offered)
    )
    assert numbers["object"] == pytest.approx(3 * 2 * let_losses.object_loss(torch.ones(1, 1), mask).item())
    assert numbers["semantic"] == pytest.approx(0, abs=1e-6)  # all features are alike
    p = torch.tensor(2.0).sigmoid().item()
    assert numbers["patch"] == pytest.approx(3 * (1 - p * 0.25 / (p + 0.25 - p * 0.25)), abs=1e-5)
    assert numbers["structure"] == pytest.approx(5 * (0.5 - let_losses.outlines(mask)).abs().mean().item())
    assert loss.item() == pytest.approx(sum(numbers.values()))


def test_nothing_is_like_an_object_that_does_not_show():
    empty, known = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    _, numbers = objective([frame(1.0, 0.0), frame(1.0, 0.0)], [Truth(empty, known), Truth()], LetWeights())
    assert set(numbers) == {"mask", "object"} and numbers["mask"] == 0


# ---- network, optimizer, weights


def test_steps_are_smaller_in_earlier_layers():
    trunk = "image_encoder.trunk."
    assert layer_factor(trunk + "blocks.11.attn.qkv.weight", 0.9, 12) == pytest.approx(0.9)
    assert layer_factor(trunk + "blocks.0.mlp.layers.0.bias", 0.9, 12) == pytest.approx(0.9**12)
    assert layer_factor(trunk + "patch_embed.proj.weight", 0.9, 12) == pytest.approx(0.9**13)
    for name in (trunk + "pos_embed_window", "image_encoder.neck.convs.0.conv.weight", "obj_ptr_proj.layers.0.bias"):
        assert layer_factor(name, 0.9, 12) == 1
    assert [cosine(step, 10, 0.1) for step in (0, 5, 10)] == pytest.approx([1, 0.55, 0.1])


def test_the_optimizer_has_every_parameter_once(made):
    network = made.network
    optimizer = make_optimizer(network, OptimizerSettings())
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    names = dict(network.named_parameters())
    assert len(rates) == len(names) == sum(len(g["params"]) for g in optimizer.param_groups)
    expected = {
        "image_encoder.trunk.blocks.11.attn.qkv.weight": (6e-5 * 0.9, 0.1),
        "image_encoder.trunk.blocks.11.norm1.weight": (6e-5 * 0.9, 0.0),
        "image_encoder.neck.convs.0.conv.bias": (6e-5, 0.0),
        "memory_attention.layers.0.structure_strength": (3e-4, 0.1),
        "sam_mask_decoder.robot_token_embedding.weight": (3e-4, 0.1),
        "memory_attention.norm.weight": (3e-4, 0.0),
    }
    assert {name: pytest.approx(rates[id(names[name])]) for name in expected} == expected
    assert [type(b.drop_path).__name__ for b in network.image_encoder.trunk.blocks][:2] == ["Identity", "DropPath"]


def test_training_may_start_from_sam2(weights):
    sam2 = {name: weights[name] for name in skeleton("sam2.1_hiera_t", SIZE).state_dict()}
    state = make_network(SIZE, 0.1, sam2).state_dict()
    assert all(torch.equal(state[name], value) for name, value in sam2.items()) and len(state) > len(sam2)
    missing = dict(list(sam2.items())[1:])
    with pytest.raises(WeightsError, match="1 missing"):
        make_network(SIZE, 0.1, missing)
    with pytest.raises(WeightsError):
        make_network(SIZE, 0.1, {"encoder.stem.conv.weight": torch.zeros(1)})


def test_weights_come_out_as_they_are_released(weights, made, tmp_path):
    save_weights(made.network, tmp_path / "weights.pt")
    state = read_weights(tmp_path / "weights.pt")
    assert recognise(state) == "robotseg" and all(torch.equal(state[k], v) for k, v in weights.items())


def test_no_clips_no_training(weights):
    with pytest.raises(TrainingError, match="no labelled clips"):
        RobotSegTask([Listed([])], SETTINGS, start=weights)


def test_identity_names_every_setting():
    identity = SETTINGS.identity()
    assert identity["batches.size"] == SIZE and identity["optimizer.rate"] == 1e-4 and identity["weights.focal"] == 5.0
    assert all(value is None or isinstance(value, int | float | bool | str) for value in identity.values())


# ---- training


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(weights, tmp_path):
    clips = [DrawnClip(part, labels=1) for part in ("robot", "arm", "gripper")]
    said: list[str] = []
    loop = LoopSettings(8, clip=0.1, average=None, save_every=0, log_every=1)
    whole = fit(task(weights, *clips), tmp_path / "whole", loop, said.append)

    class Stop(Exception):
        pass

    class Stopping(RobotSegTask):
        left = 4

        def loss(self, batch):
            self.left -= 1
            if self.left < 0:
                raise Stop
            return super().loss(batch)

    with pytest.raises(Stop):
        fit(Stopping([Listed(clips)], SETTINGS, start=weights), tmp_path / "stopped", loop, said.append)
    # begun from random numbers, which the checkpoint replaces; rough masks come of the start's encoder all the same
    again = RobotSegTask([Listed(clips)], SETTINGS, start=weights)
    for value in again.network.state_dict().values():
        value.zero_()
    gone_on = fit(again, tmp_path / "stopped", loop, said.append)
    assert any(line.startswith("goes on after step 4 ") for line in said)
    a, b = whole.state_dict(), gone_on.state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)
