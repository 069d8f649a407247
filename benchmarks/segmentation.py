"""RobotSeg on a processor: ours beside the original's order of operations, in one run, on the same memories.

    python -m benchmarks.segmentation [--threads 2] [--rounds 3] [--weights robotseg.pt]

The original's flow is put together from our own modules as SPEC describes it: Canny with both thresholds and its
hysteresis in each of four layers, attention by the framework's own function, structure maps at full size. All flows
track the same frame with seven memories. Without --weights the network is filled with the numbers of the reference
recipe: masks are then blobs, and what they say of accuracy holds for such blobs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.nn import functional as F

from segmentation import build_robotseg
from segmentation.robotseg import Behaviour, edges, linear
from segmentation.robotseg.predictor import RobotSegPredictor, State
from segmentation.robotseg.reading import MemoryReading
from segmentation.robotseg.structure import StructureLayer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "segmentation"))
from robotseg_reference import drawn_video, drawn_weights

MEMORIES = 7
LOW, HIGH = 0.1, 0.2
STAGES = ("encoder", "memory attention", "prompt generator", "decoder", "memory encoder", "rest")


def hysteresis(magnitude: torch.Tensor) -> torch.Tensor:
    """Canny's last step, which the original computes and throws away: weak edges beside strong ones grow strong."""
    edge = 0.5 * (magnitude > LOW).float() + 0.5 * (magnitude > HIGH).float()
    before = -torch.ones_like(edge)
    kernel = torch.zeros(8, 1, 3, 3)
    for i, (y, x) in enumerate(edges.NEIGHBOURS):
        kernel[i, 0, 1 + y, 1 + x] = 1
    while bool((before != edge).any()):
        before = edge
        beside = (F.conv2d(edge, kernel, padding=1) == 1).any(1, keepdim=True).float()
        edge = beside * (edge == 0.5) + (edge == 1) + 0.5 * (beside == 0) * (edge == 0.5)
    return (edge == 1).float()


def own_canny(grey: torch.Tensor) -> torch.Tensor:
    magnitude = edges.canny_magnitude(grey)
    hysteresis(magnitude)
    return magnitude


def kornia_canny(grey: torch.Tensor) -> torch.Tensor:
    """What the original calls; kornia is not needed by anything else here."""
    from kornia.filters import canny

    return canny(grey, LOW, HIGH)[0]


def original_layer(model: RobotSegPredictor, canny: Callable) -> Callable:
    """A layer's forward as the original orders it."""

    def forward(self: StructureLayer, tgt, keys, values, query_pos, num_k_exclude_rope, edges_):  # type: ignore[no-untyped-def]
        assert model._frame is not None
        image = model._get_image_feature(*model._frame, 1)[0]
        grey = image / 255 if image.amax() > edges.BRIGHT else image
        grey = sum(weight * grey[:, i : i + 1] for i, weight in enumerate(edges.GREY)).clamp(0, 1)
        gain = F.interpolate(canny(grey).clamp(0, 1), size=edges_.shape[-2:], mode="bilinear", align_corners=False)
        memories = {"k": keys, "v": values, "num_k_exclude_rope": num_k_exclude_rope}
        tgt = self._forward_sa(tgt, query_pos)
        tgt = tgt + self.cross_attn_image(q=self.norm2(tgt), **memories)
        structure = self._structure(tgt, gain, memories)
        full = F.interpolate(structure, scale_factor=16, mode="bilinear", align_corners=False)
        gate = F.interpolate(full.sigmoid(), size=structure.shape[-2:], mode="bilinear", align_corners=False)
        tgt = tgt + self.linear2(self.activation(self.linear1(self.norm3(tgt))))
        return tgt * (1 + self.structure_strength * gate).flatten(2).transpose(1, 2), full

    return forward


@contextmanager
def flow(model: RobotSegPredictor, name: str) -> Iterator[None]:
    """The model as another flow would run it: "original", "original kornia" (with kornia's Canny), "exact", or
    options such as "bf16 pool2".
    """
    layers = list(model.memory_attention.layers)
    readings = [m for m in model.modules() if isinstance(m, MemoryReading)]
    fused = linear._fused
    original = name.startswith("original")
    if original:
        linear._fused = None
    model.precision = torch.bfloat16 if "bf16" in name else torch.float32
    for reading in readings:
        reading.fast, reading.pool = not original, 2 if "pool2" in name else 4 if "pool4" in name else 1
    if original:
        canny = kornia_canny if "kornia" in name else own_canny
        model._edges = lambda size: torch.zeros(1, 1, *size)  # type: ignore[method-assign]
        for layer in layers:
            layer.forward = types.MethodType(original_layer(model, canny), layer)
    yield
    linear._fused = fused
    model.precision = torch.float32
    for layer in layers:
        layer.__dict__.pop("forward", None)
    model.__dict__.pop("_edges", None)


class Clock:
    """Seconds spent in the stages, wall and processor."""

    def __init__(self, model: RobotSegPredictor):
        self.spent: dict[str, float] = {}
        modules = {
            "encoder": model.image_encoder,
            "memory attention": model.memory_attention,
            "prompt generator": model.robot_prompt_generator,
            "decoder": model.sam_mask_decoder,
            "memory encoder": model.memory_encoder,
        }
        for name, module in modules.items():
            module.register_forward_pre_hook(lambda *_, name=name: self._add(name, -1))
            module.register_forward_hook(lambda *_, name=name: self._add(name, 1))

    def _add(self, name: str, sign: int) -> None:
        self.spent[name] = self.spent.get(name, 0.0) + sign * time.perf_counter()


def full_state(model: RobotSegPredictor, frames: list[np.ndarray], parts: tuple[str, ...]) -> State:
    """Tracked up to the frame before the last, so that seven memories are there; pooled, which is quick."""
    state = model.init_state(frames)
    for number, part in enumerate(parts):
        model.add_new_robot(state, 0, number, part)
    with flow(model, "pool4"):
        for _ in model.propagate_in_video(state, max_frame_num_to_track=MEMORIES):
            pass
    return state


def track(model: RobotSegPredictor, state: State, name: str, clock: Clock) -> dict:
    """One frame with a full bank: seconds by stage, and the masks."""
    fresh = {i: {kind: dict(of_kind) for kind, of_kind in o.items()} for i, o in state["output_dict_per_obj"].items()}
    state = {**state, "cached_features": {}, "edges": None, "output_dict_per_obj": fresh}
    clock.spent.clear()
    with flow(model, name):
        wall, cpu = time.perf_counter(), time.process_time()
        for _, _, logits in model.propagate_in_video(state, start_frame_idx=MEMORIES + 1, max_frame_num_to_track=0):
            masks = (logits > 0).numpy()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stages = dict(clock.spent)
    stages["rest"] = wall - sum(stages.values())
    return {"wall": wall, "cpu": cpu, "stages": stages, "masks": masks}


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def ready(weights: str | None) -> tuple[RobotSegPredictor, list[np.ndarray]]:
    model = build_robotseg(weights, behaviour=Behaviour(random_start=False))
    if weights is None:
        model.load_state_dict(drawn_weights(model))
    return model, drawn_video("plain", MEMORIES + 2)


def one(name: str, weights: str | None) -> None:
    """Prints the peak memory of a process that runs one flow alone."""
    model, frames = ready(weights)
    state = full_state(model, frames, ("robot",))
    with flow(model, name):
        for _ in model.propagate_in_video(state, start_frame_idx=MEMORIES + 1, max_frame_num_to_track=0):
            pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights")
    parser.add_argument("--flows", default="original,exact,pool2,bf16,bf16 pool2")
    parser.add_argument("--parts", action="store_true", help="also three parts at once")
    parser.add_argument("--memory", action="store_true", help="also the peak memory, each flow in a process of its own")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        one(options.one, options.weights)
        return
    model, frames = ready(options.weights)
    clock = Clock(model)
    names = options.flows.split(",")
    wanted = [("robot",)] + [("arm", "gripper", "robot")] * options.parts
    states = {parts: full_state(model, frames, parts) for parts in wanted}
    runs: dict[tuple[str, int], list[dict]] = {}
    for round_ in range(options.rounds + 1):  # the first warms up
        for parts, state in states.items():
            for name in [n for n in names if len(parts) == 1 or not n.startswith("original")]:
                run = track(model, state, name, clock)
                if round_:
                    runs.setdefault((name, len(parts)), []).append(run)
    print("| flow | parts | s a frame | CPU s | " + " | ".join(STAGES) + " | mask IoU |")
    print("|---" * (5 + len(STAGES)) + "|")
    for (name, parts), some in runs.items():
        first = next(n for n in ("original", "original kornia", "exact", *names) if (n, parts) in runs)
        reference = runs[(first, parts)][0]
        stages = [median(run["stages"].get(stage, 0.0) for run in some) for stage in STAGES]
        same = min(iou(a, b) for a, b in zip(some[0]["masks"][:, 0], reference["masks"][:, 0]))
        print(
            f"| {name} | {parts} | {median(r['wall'] for r in some):.2f} | {median(r['cpu'] for r in some):.2f} | "
            + " | ".join(f"{seconds:.2f}" for seconds in stages)
            + f" | {same:.4f} |"
        )
    for original in [n for n in names if n.startswith("original")]:
        for name in [n for n in names if not n.startswith("original")]:
            ratio = median(a["wall"] / b["wall"] for a, b in zip(runs[(original, 1)], runs[(name, 1)]))
            print(f"{name}: {ratio:.2f} times as fast as {original}")
    if options.memory:
        for name in names:
            call = [sys.executable, "-m", "benchmarks.segmentation", "--one", name, "--threads", str(options.threads)]
            call += ["--weights", options.weights] if options.weights else []
            peak = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()[-1]
            print(f"{name}: peak {float(peak):.0f} MiB")


if __name__ == "__main__":
    main()
