"""The configuration and the network: sizes, alignment, what learns, precision, saving."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from grain_model.configuration_grain import GrainConfig
from grain_model.errors import ModelError
from grain_model.image_processing_grain import standardize
from grain_model.loading import load_model
from grain_model.modeling_grain import DETAIL_STRIDE, GrainForInstanceSegmentation
from tests.conftest import make_tiny_config

FROZEN_WITH_DROPOUT = {
    "freeze_backbone": True,
    "backbone_config": {**make_tiny_config().backbone_config.to_dict(), "hidden_dropout_prob": 0.5},
}


def make_tiny_model(**changes) -> GrainForInstanceSegmentation:
    """Random but always the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GrainForInstanceSegmentation(make_tiny_config(**changes))


def make_batch(pictures: int = 2, height: int = 43, width: int = 57) -> dict[str, torch.Tensor]:
    """Noise with four square grains, each a little brighter than the last."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.arange(height)[:, None] * 2 // height, torch.arange(width) * 2 // width
    labels = (1 + 2 * rows + columns).expand(pictures, -1, -1).clone()
    pixels = torch.randn((pictures, 3, height, width), generator=generator) * 0.1 + labels[:, None]
    return {"pixel_values": pixels, "labels": labels}


def all_logits(model: GrainForInstanceSegmentation, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(pixels).logits


# Configuration


def test_the_default_backbone_is_dinov2_small():
    backbone = GrainConfig().backbone_config
    assert (backbone.model_type, backbone.hidden_size, backbone.num_hidden_layers) == ("dinov2", 384, 12)
    assert (backbone.num_attention_heads, backbone.patch_size, backbone.image_size) == (6, 14, 518)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"token_depths": (1, 3)}, "token_depths .*from 0 to 2"),
        ({"token_depths": (-1,)}, "token_depths"),
        ({"token_depths": ()}, "token_depths"),
        ({"detail_channels": (8, 8, 8)}, "detail_channels .*four positive numbers"),
        ({"detail_channels": (8, 0, 8, 8)}, "detail_channels"),
        ({"detail_channels": (-8, -8, -8, -8)}, "detail_channels"),
        ({"num_channels_out": 1}, "num_channels_out is 1"),
        ({"num_channels_out": 5}, "num_channels_out is 5"),
        ({"context_blocks": -1}, "context_blocks is -1"),
        ({"backbone_config": ViTConfig()}, "of the type 'vit': expected 'dinov2'"),
        ({"token_channels": "many"}, "token_channels"),
    ],
)
def test_wrong_settings_are_refused(wrong, reason):
    with pytest.raises(Exception, match=reason):  # The library wraps what a check raises.
        make_tiny_config(**wrong)


def test_a_configuration_survives_json(tmp_path):
    config = make_tiny_config(token_depths=(0, 2), freeze_backbone=True, boundary_weight=2.5)
    config.save_pretrained(tmp_path)
    again = GrainConfig.from_pretrained(tmp_path)
    assert list(again.token_depths) == [0, 2]
    assert (again.freeze_backbone, again.boundary_weight) == (True, 2.5)
    assert again.backbone_config.to_dict() == config.backbone_config.to_dict()


# Sizes


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (14, 14), (15, 28), (37, 61), (56, 43)])
@pytest.mark.parametrize("detail", [(8, 8, 16, 16), (0, 0, 0, 0)])
def test_logits_have_the_size_of_the_picture(size, detail):
    model = make_tiny_model(detail_channels=detail).eval()
    logits = all_logits(model, torch.randn(1, 3, *size))
    assert logits.shape == (1, 3, *size)
    assert torch.isfinite(logits).all()


def test_pictures_of_a_batch_do_not_influence_one_another(tiny_model):
    pixels = make_batch()["pixel_values"]
    together = all_logits(tiny_model, pixels)
    alone = torch.cat([all_logits(tiny_model, picture[None]) for picture in pixels])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_channels_follow_the_configuration():
    model = make_tiny_model(num_channels_out=2)
    output = model(**make_batch(1))
    assert output.logits.shape[1] == 2
    assert torch.isfinite(output.loss)


def test_output_can_be_a_tuple_and_carry_the_backbone_states(tiny_model):
    pixels = torch.randn(1, 3, 30, 45)
    output = tiny_model(pixels, output_hidden_states=True)
    assert output.loss is None
    assert [tuple(state.shape) for state in output.hidden_states] == [(1, 1 + 3 * 4, 32)] * 3
    assert tiny_model(pixels).hidden_states is None
    (logits,) = tiny_model(pixels, return_dict=False)
    assert torch.equal(logits, output.logits)


def test_the_configuration_says_what_is_put_out():
    model = make_tiny_model(output_hidden_states=True, return_dict=False)
    pixels = torch.randn(1, 3, 30, 45)
    _, states = model(pixels)
    assert len(states) == 3
    assert model(pixels, output_hidden_states=False, return_dict=True).hidden_states is None


# Alignment

SIDE = 24
"""Side of the drawn square, px."""


def draw_square(height: int, width: int, top: int, left: int) -> dict[str, torch.Tensor]:
    labels = torch.zeros((1, height, width), dtype=torch.long)
    labels[:, top : top + SIDE, left : left + SIDE] = 1
    return {"pixel_values": (2.0 * labels - 1)[:, None].repeat(1, 3, 1, 1), "labels": labels}


@pytest.fixture(scope="module")
def square_finder() -> GrainForInstanceSegmentation:
    """Has learned the interior of squares in pictures of 56 x 56, which need no padding."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = GrainForInstanceSegmentation(
            make_tiny_config(detail_channels=(16, 16, 16, 16), boundary_weight=0.0, distance_weight=0.0)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(100):
            drawn = [draw_square(56, 56, *torch.randint(2, 30, (2,)).tolist()) for _ in range(4)]
            optimizer.zero_grad()
            model(**{key: torch.cat([one[key] for one in drawn]) for key in drawn[0]}).loss.backward()
            optimizer.step()
    return model.eval()


def crossings(profile: np.ndarray) -> tuple[float, float]:
    """Where a profile rises through one half and where it falls, between pixel centres."""
    inside = np.flatnonzero(profile >= 0.5)
    assert len(inside), "nothing was found"
    first, last = inside[0], inside[-1]
    rise = first - (profile[first] - 0.5) / (profile[first] - profile[first - 1])
    return rise, last + (profile[last] - 0.5) / (profile[last] - profile[last + 1])


@pytest.mark.parametrize(
    ("height", "width", "top", "left"),
    [(56, 56, 16, 16), (57, 69, 13, 20), (63, 61, 19, 30), (69, 57, 30, 11), (58, 66, 17, 25), (71, 80, 31, 40)],
)
def test_a_drawn_square_is_found_where_it_was_drawn(square_finder, height, width, top, left):
    """Sizes that it was not trained on, padded by 0 to 13 px: a shift or crop cannot have been learned away."""
    maps = all_logits(square_finder, draw_square(height, width, top, left)["pixel_values"]).sigmoid()[0, 0].numpy()
    across = crossings(maps[top + 6 : top + SIDE - 6].mean(0))
    down = crossings(maps[:, left + 6 : left + SIDE - 6].mean(1))
    # The interior is the square without its rim of one pixel: it ends between that pixel's centre and the next.
    assert across == pytest.approx((left + 0.5, left + SIDE - 1.5), abs=0.5)
    assert down == pytest.approx((top + 0.5, top + SIDE - 1.5), abs=0.5)


@pytest.mark.parametrize("rows", [1, 3, 4, 7])
def test_tokens_lie_over_their_own_pixels(tiny_model, rows):
    """Tokens that hold the row of their patch's centre give, interpolated, the row of each cell's centre."""
    fusion = tiny_model.decoder.tokens
    fusion.norms = nn.ModuleList([nn.Identity()])
    fusion.projection = fusion.smooth = nn.Identity()
    patch, columns = fusion.patch_size, 2
    centres = (torch.arange(rows) + 0.5) * patch
    state = torch.cat([torch.zeros(1), centres.repeat_interleave(columns)])[None, :, None]
    cells = -(-rows * patch // DETAIL_STRIDE)
    found = fusion([state], (rows, columns), (cells, 3))
    assert found.shape == (1, 1, cells, 3)
    expected = ((torch.arange(cells) + 0.5) * DETAIL_STRIDE).clamp(centres[0], centres[-1])
    torch.testing.assert_close(found[0, 0, :, 0], expected)


def draw_lines(height: int, width: int, top: int, left: int, step: int = 44, line: int = 3) -> np.ndarray:
    """A bright picture with a grid of dark lines whose first begin at `top` and `left`."""
    rows = (np.arange(height) - top) % step < line
    columns = (np.arange(width) - left) % step < line
    picture = np.where(rows[:, None] | columns, 50, 200).astype(np.uint8)
    return np.repeat(picture[..., None], 3, axis=2)


def line_centre(profile: np.ndarray, near: int, reach: int = 8) -> float:
    window = profile[near - reach : near + reach + 1]
    weight = window - window.min()
    assert weight.max() > 0.3, "no boundary was found"
    return float((weight * np.arange(near - reach, near + reach + 1)).sum() / weight.sum())


@pytest.mark.parametrize(("top", "left"), [(10, 10), (10, 11), (17, 13), (14, 20), (31, 17)])
@pytest.mark.parametrize("size", [(224, 238), (217, 230)])
def test_embedded_weights_find_lines_where_they_were_drawn(size, top, left):
    pixels = torch.from_numpy(standardize(draw_lines(*size, top, left)))[None]
    model = load_model()
    boundary = all_logits(model, pixels.to(model.device)).sigmoid()[0, 1].cpu().numpy()
    for first, profile in ((top, boundary.mean(1)), (left, boundary.mean(0))):
        for centre in (first + 45, first + 89, first + 133):
            assert line_centre(profile, centre) == pytest.approx(centre, abs=0.5)


# Tokens


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_each_chosen_depth_reaches_the_logits(depth):
    model = make_tiny_model(token_depths=(0, 1, 2)).eval()
    pixels = torch.randn(1, 3, 28, 42)
    states = list(model.backbone(pixels, output_hidden_states=True).hidden_states)
    before = model.decoder(pixels, states, (2, 3))
    states[depth] = states[depth] + torch.randn_like(states[depth])
    assert not torch.allclose(before, model.decoder(pixels, states, (2, 3)), atol=1e-4)


def test_a_middle_layer_changes_the_logits(tiny_model):
    pixels = torch.randn(1, 3, 28, 42)
    before = all_logits(tiny_model, pixels)
    with torch.no_grad():
        for weight in tiny_model.backbone.encoder.layer[0].parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    assert not torch.allclose(before, all_logits(tiny_model, pixels), atol=1e-4)


def test_without_the_detail_branch_pixels_reach_the_logits_by_the_tokens_alone():
    model = make_tiny_model(detail_channels=(0, 0, 0, 0)).eval()
    assert not any(name.startswith("decoder.detail") for name, _ in model.named_parameters())
    pixels = torch.randn(1, 3, 28, 42)
    states = list(model.backbone(pixels, output_hidden_states=True).hidden_states)[1:]
    same = model.decoder(pixels, states, (2, 3))
    assert torch.equal(same, model.decoder(torch.zeros_like(pixels), states, (2, 3)))
    assert not torch.allclose(all_logits(model, pixels), all_logits(model, pixels * 0.5), atol=1e-4)


# Learning


def train_steps(model: GrainForInstanceSegmentation, batch: dict[str, torch.Tensor], steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("pictures", [1, 2])
def test_the_loss_falls_on_one_batch(pictures):
    losses = train_steps(make_tiny_model().train(), make_batch(pictures), 20)
    assert losses[-1] < 0.7 * losses[0]


def test_everything_learns_unless_frozen():
    model = make_tiny_model().train()
    model(**make_batch()).loss.backward()
    idle = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    # No patch is hidden, and the decoder reads the layers before the last norm.
    assert idle == {"backbone.embeddings.mask_token", "backbone.layernorm.weight", "backbone.layernorm.bias"}


def test_gradient_reaches_only_the_decoder_when_frozen():
    model = make_tiny_model(freeze_backbone=True).train()
    model(**make_batch()).loss.backward()
    assert all(weight.grad is None and not weight.requires_grad for weight in model.backbone.parameters())
    assert all(weight.grad is not None for weight in model.decoder.parameters())


def test_a_frozen_backbone_stays_as_it_was():
    model = make_tiny_model(**FROZEN_WITH_DROPOUT).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_steps(model, make_batch(), 3)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_a_frozen_backbone_drops_nothing_out_in_training():
    model = make_tiny_model(**FROZEN_WITH_DROPOUT)
    pixels = make_batch()["pixel_values"]
    assert model.train() is model
    assert model.decoder.training and not any(part.training for part in model.backbone.modules())
    assert torch.equal(all_logits(model, pixels), all_logits(model, pixels))
    thawed = make_tiny_model(**{**FROZEN_WITH_DROPOUT, "freeze_backbone": False}).train()
    assert not torch.equal(all_logits(thawed, pixels), all_logits(thawed, pixels))


def test_freezing_survives_saving(tmp_path):
    model = make_tiny_model()
    model.train()
    model.freeze_backbone()
    assert not model.backbone.training
    model.save_pretrained(tmp_path)
    again = GrainForInstanceSegmentation.from_pretrained(tmp_path)
    assert again.config.freeze_backbone
    assert not any(weight.requires_grad for weight in again.backbone.parameters())
    assert all(weight.requires_grad for weight in again.decoder.parameters())


# Precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_float32_pixels(tiny_model, dtype):
    pixels = make_batch()["pixel_values"]
    exact = all_logits(tiny_model, pixels).sigmoid()
    logits = all_logits(tiny_model.to(dtype), pixels)
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float().sigmoid(), exact, rtol=0, atol=0.02)


# Saving


@pytest.mark.parametrize("loaded_by", ["AutoModel", "AutoModelForImageSegmentation"])
def test_a_saved_folder_names_every_auto_class(tiny_model, tmp_path, monkeypatch, loaded_by):
    monkeypatch.setattr(GrainForInstanceSegmentation, "_auto_class", loaded_by)
    tiny_model.save_pretrained(tmp_path)
    auto_map = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert set(auto_map) == {"AutoConfig", "AutoModel", "AutoModelForImageSegmentation"}


@pytest.mark.parametrize(
    ("module", "named"),
    [("their_model", "their_model.TheirGrains"), ("__main__", "modeling_grain.GrainForInstanceSegmentation")],
)
def test_a_saved_subclass_names_a_file_that_lies_beside_it(tiny_model, tmp_path, monkeypatch, module, named):
    """Its own, or that of its base where it was typed into a notebook."""
    (tmp_path / "their_model.py").write_text(
        "from grain_model.modeling_grain import GrainForInstanceSegmentation as Grains\n"
        "class TheirGrains(Grains):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("their_model").TheirGrains
    monkeypatch.setattr(kind, "__module__", module)
    monkeypatch.setattr(GrainForInstanceSegmentation, "_auto_class", "AutoModel")
    kind(tiny_model.config).save_pretrained(tmp_path / "saved")
    auto_map = json.loads((tmp_path / "saved" / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModel"] == auto_map["AutoModelForImageSegmentation"] == named
    assert (tmp_path / "saved" / (named.split(".")[0] + ".py")).is_file()


def test_saved_weights_come_back_bit_by_bit(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    again, report = GrainForInstanceSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    weights = again.state_dict()
    # On disk the attention weights have other names; a mismatch would leave them random.
    assert any("q_proj" in name for name in weights)
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    pixels = make_batch()["pixel_values"]
    assert torch.equal(all_logits(again.eval(), pixels), all_logits(tiny_model, pixels))


def test_starts_from_a_backbones_weights_with_only_the_decoder_to_learn(tmp_path):
    small = Dinov2Config(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(small).save_pretrained(tmp_path / "dinov2")
    theirs = Dinov2Model.from_pretrained(tmp_path / "dinov2").state_dict()
    for freeze in (True, False):
        model = GrainForInstanceSegmentation.from_backbone(tmp_path / "dinov2", freeze=freeze, context_blocks=1)
        assert model.config.token_depths == [1, 2, 3, 4] and model.config.context_blocks == 1
        assert all(torch.equal(value, theirs[name]) for name, value in model.backbone.state_dict().items())
        assert any(weights.requires_grad for weights in model.backbone.parameters()) != freeze
        assert all(weights.requires_grad for weights in model.decoder.parameters())

    model = GrainForInstanceSegmentation.from_backbone(tmp_path / "dinov2", token_depths=(2, 4))
    assert list(model.config.token_depths) == [2, 4]
    thawed = GrainForInstanceSegmentation.from_backbone(tmp_path / "dinov2", freeze_backbone=False)
    assert all(weights.requires_grad for weights in thawed.parameters())


def test_a_backbone_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="no/such-folder.*Expected is the Hub id"):
        GrainForInstanceSegmentation.from_backbone("no/such-folder/at-all")


def test_a_backbone_that_is_no_dinov2_or_lacks_weights_is_refused(tmp_path):
    tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    ViTModel(ViTConfig(**tiny)).save_pretrained(tmp_path / "vit")
    with pytest.raises(ModelError, match="a model of the type 'vit'"):
        GrainForInstanceSegmentation.from_backbone(tmp_path / "vit")
    backbone = Dinov2Model(Dinov2Config(**tiny))
    weights = backbone.state_dict()
    del weights["encoder.layer.1.norm1.weight"], weights["embeddings.mask_token"]
    backbone.save_pretrained(tmp_path / "part", state_dict=weights)
    with pytest.raises(ModelError, match="1 of its tensors are missing"):
        GrainForInstanceSegmentation.from_backbone(tmp_path / "part")


def test_a_checkpoint_holds_the_names_by_which_trainer_resumes(tmp_path):
    model = make_tiny_model()
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


def test_a_frozen_backbone_can_learn_again():
    model = make_tiny_model(freeze_backbone=True).train()
    model.unfreeze_backbone()
    model(**make_batch()).loss.backward()
    assert not model.config.freeze_backbone and model.backbone.training
    assert model.backbone.get_parameter("encoder.layer.0.attention.q_proj.weight").grad.any()


def test_options_of_a_backbone_that_are_no_field_are_refused(tmp_path):
    make_tiny_model().backbone.save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="revision, tokenchannels: no field"):
        GrainForInstanceSegmentation.from_backbone(tmp_path, revision="main", tokenchannels=8)


def test_labels_are_whole_numbers_of_any_width():
    model, batch = make_tiny_model().eval(), make_batch()
    expected = model(**batch).loss
    narrow = {**batch, "labels": batch["labels"].to(torch.uint16)}
    assert torch.equal(model(**narrow).loss, expected)
    with pytest.raises(TypeError, match="torch.float32: expected whole numbers"):
        model(**{**batch, "labels": batch["labels"] / 255})


def test_a_backbone_is_a_dinov2_unless_it_says_otherwise():
    assert GrainConfig(backbone_config={"hidden_size": 24}).backbone_config.model_type == "dinov2"
