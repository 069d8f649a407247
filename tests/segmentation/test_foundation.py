"""Features of the user's own vision transformer; the library is played by a stand-in."""

import sys
import types

import pytest
import torch

from segmentation.errors import TrainingError
from segmentation.training.foundation import TransformerFeatures, load_features

PATCH, REGISTERS = 4, 2


class Model(torch.nn.Module):
    """Tokens as DINOv3 orders them: class, registers, patches in rows; a patch's token is its mean colour."""

    def __init__(self, patch=PATCH):
        super().__init__()
        self.config = types.SimpleNamespace(patch_size=patch, num_register_tokens=REGISTERS)

    def forward(self, pixel_values):
        patches = torch.nn.functional.avg_pool2d(pixel_values, self.config.patch_size).flatten(2).transpose(1, 2)
        special = torch.full((len(patches), 1 + REGISTERS, 3), 99.0)
        return types.SimpleNamespace(last_hidden_state=torch.cat([special, patches], 1))


def test_patch_tokens_become_a_map():
    pictures = torch.rand(2, 3, 8, 12)
    features = TransformerFeatures(Model())(pictures)
    assert torch.allclose(features, torch.nn.functional.avg_pool2d(pictures, PATCH)) and features.shape == (2, 3, 2, 3)
    assert TransformerFeatures(Model(patch=5))(pictures).shape == (2, 3, 2, 2)  # resized to 10 x 10


def test_loading(tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match=r"no config.json"):
        load_features(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(TrainingError, match="pip install transformers"):
        load_features(tmp_path)
    asked = {}

    class AutoModel:
        @staticmethod
        def from_pretrained(path, **named):
            asked.update(named, path=path)
            return Model()

    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoModel=AutoModel))
    assert load_features(tmp_path).special == 3
    assert asked == {
        "path": str(tmp_path), "local_files_only": True, "trust_remote_code": False, "use_safetensors": True,
    }  # fmt: skip

    def broken(path, **named):
        raise OSError("no model.safetensors\nsecond line")

    monkeypatch.setattr(AutoModel, "from_pretrained", broken)
    with pytest.raises(TrainingError, match=r"no vision transformer .*no model.safetensors\)"):
        load_features(tmp_path)
