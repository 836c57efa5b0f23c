"""DINOv2 tokens and a full-resolution detail branch, decoded to grain interior, boundary and distance maps."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoModel,
    AutoModelForImageSegmentation,
    Dinov2Config,
    Dinov2Model,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import ModelOutput

from .configuration_grain import GrainConfig
from .errors import ModelError
from .segmentation_loss import segmentation_loss

# The detail branch ends at this stride; tokens (stride 14) are brought to it.
DETAIL_STRIDE = 8

UNLOADABLE = (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError)
"""What transformers raises for a model that is not there, damaged or configured wrongly."""


@dataclass
class GrainSegmentationOutput(ModelOutput):
    """Output of `GrainForInstanceSegmentation`.

    Attributes:
        loss: Scalar, when labels were given.
        logits: Float (B, C, H, W) at the size of the input; sigmoid gives the interior probability (channel 0), the
            boundary probability (1) and the distance to the grain's boundary relative to the grain's deepest point (2).
        hidden_states: Backbone states, each (B, 1 + tokens, hidden), when asked for.
        attentions: Backbone attention weights, each (B, heads, 1 + tokens, 1 + tokens), when asked for.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


def first_line(error: Exception) -> str:
    """The first line of an error's message, as a sentence; of a failed check of a configuration, that of its cause."""
    if isinstance(error, StrictDataclassError) and error.__cause__ is not None:
        error = error.__cause__
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return line if line.endswith(".") else f"{line}."


class ConvNormAct(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut; the first may be dilated to see further."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvNormAct(channels, channels, dilation=dilation)
        self.second = ConvNormAct(channels, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.second(self.first(features))


class TokenFusion(nn.Module):
    """Brings tokens of several depths to the grid of the detail branch, aligned with the pixels."""

    def __init__(self, config: GrainConfig) -> None:
        super().__init__()
        backbone = config.backbone_config
        self.patch_size = backbone.patch_size
        self.norms = nn.ModuleList(nn.LayerNorm(backbone.hidden_size) for _ in config.token_depths)
        self.projection = nn.Linear(backbone.hidden_size * len(config.token_depths), config.token_channels)
        self.smooth = ConvNormAct(config.token_channels, config.token_channels)

    def forward(
        self, states: list[torch.Tensor], token_grid: tuple[int, int], detail_grid: tuple[int, int]
    ) -> torch.Tensor:
        tokens = torch.cat([norm(state[:, 1:]) for norm, state in zip(self.norms, states, strict=True)], dim=-1)
        tokens = self.projection(tokens).transpose(1, 2).unflatten(2, token_grid)
        tokens = self.smooth(tokens)
        # Interpolating by the exact ratio of the strides keeps both grids on the same pixels; one repeated row and
        # column feed the last cells of the detail grid, which may reach past the last patch.
        tokens = F.pad(tokens, (0, 1, 0, 1), mode="replicate")
        ratio = self.patch_size / DETAIL_STRIDE
        tokens = F.interpolate(
            tokens, scale_factor=ratio, mode="bilinear", align_corners=False, recompute_scale_factor=False
        )
        return tokens[..., : detail_grid[0], : detail_grid[1]]


class GrainDecoder(nn.Module):
    """A U-shaped decoder: detail features from the pixels, context from the tokens, logits at full resolution."""

    def __init__(self, config: GrainConfig) -> None:
        super().__init__()
        self.has_detail = any(config.detail_channels)
        widths = list(config.detail_channels) if self.has_detail else [16, 32, 64, 128]
        full, half, quarter, eighth = widths
        self.tokens = TokenFusion(config)
        if self.has_detail:
            self.detail_1 = nn.Sequential(
                ConvNormAct(config.backbone_config.num_channels, full), ConvNormAct(full, full)
            )
            self.detail_2 = nn.Sequential(ConvNormAct(full, half, stride=2), ConvNormAct(half, half))
            self.detail_4 = nn.Sequential(ConvNormAct(half, quarter, stride=2), ResidualBlock(quarter))
            self.detail_8 = nn.Sequential(ConvNormAct(quarter, eighth, stride=2), ResidualBlock(eighth))
        skip = 1 if self.has_detail else 0
        self.fuse = ConvNormAct(config.token_channels + skip * eighth, eighth)
        self.context = nn.Sequential(*(ResidualBlock(eighth, dilation=2**i) for i in range(config.context_blocks)))
        self.up_4 = nn.Sequential(ConvNormAct(eighth + skip * quarter, quarter), ResidualBlock(quarter))
        self.up_2 = nn.Sequential(ConvNormAct(quarter + skip * half, half), ConvNormAct(half, half))
        self.up_1 = nn.Sequential(ConvNormAct(half + skip * full, full), ConvNormAct(full, full))
        self.head = nn.Conv2d(full, config.num_channels_out, 1)

    def forward(
        self, pixel_values: torch.Tensor, states: list[torch.Tensor], token_grid: tuple[int, int]
    ) -> torch.Tensor:
        """Decode tokens and pixels.

        Args:
            pixel_values: (B, 3, H, W), H and W multiples of the patch size.
            states: Backbone states of the chosen depths, each (B, 1 + tokens, hidden).
            token_grid: Rows and columns of the tokens.

        Returns:
            Logits (B, C, H, W).
        """
        height, width = pixel_values.shape[-2:]
        skips: list[torch.Tensor | None] = [None, None, None]
        grid = (_cells(height, DETAIL_STRIDE), _cells(width, DETAIL_STRIDE))
        features = self.tokens(states, token_grid, grid)
        if self.has_detail:
            # A side that the stride does not divide is repeated at its end; the logits are cropped back.
            bottom, right = grid[0] * DETAIL_STRIDE - height, grid[1] * DETAIL_STRIDE - width
            pixels = F.pad(pixel_values, (0, right, 0, bottom), mode="replicate")
            full = self.detail_1(pixels)
            half = self.detail_2(full)
            quarter = self.detail_4(half)
            skips = [quarter, half, full]
            features = torch.cat([features, self.detail_8(quarter)], dim=1)
        features = self.context(self.fuse(features))
        for stage, skip in zip((self.up_4, self.up_2, self.up_1), skips, strict=True):
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = stage(features if skip is None else torch.cat([features, skip], dim=1))
        return self.head(features)[..., :height, :width]


def _cells(length: int, step: int) -> int:
    """Cells of `step` that cover `length`; of positive numbers only, since ONNX rounds negative quotients upwards."""
    return (length + step - 1) // step


class GrainPreTrainedModel(PreTrainedModel):
    """Loading, saving and weight initialisation."""

    config_class = GrainConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules = ["Dinov2Layer", "GrainDecoder"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def save_pretrained(self, save_directory: str | os.PathLike, **options: Any) -> None:
        """Save weights, configuration and code, so that every auto class and the pipeline load the folder anywhere.

        Args:
            save_directory: Where to; made if it does not exist.
            options: Passed on to `PreTrainedModel.save_pretrained`.
        """
        # Late, since a model that is not saved needs none of it.
        from .pipeline_grain import CUSTOM_PIPELINES, GrainCountingPipeline

        Path(save_directory).mkdir(parents=True, exist_ok=True)
        # Both, since transformers adds one alone: the one that a model of this class was last loaded by.
        # A class typed into a notebook has no file to be loaded from: its base has.
        saved = next(kind for kind in type(self).__mro__ if kind.__module__ != "__main__")
        name = f"{saved.__module__.rpartition('.')[2]}.{saved.__name__}"
        both = dict.fromkeys(("AutoModel", "AutoModelForImageSegmentation"), name)
        self.config.auto_map = {**(getattr(self.config, "auto_map", None) or {}), **both}
        self.config.custom_pipelines = CUSTOM_PIPELINES
        # Before the weights, which `push_to_hub=True` uploads together with what lies beside them.
        for part in (GrainCountingPipeline, saved):
            custom_object_save(part, save_directory)
        # Under the names that the weights have in memory, since `Trainer` takes a checkpoint up again by those.
        options.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, **options)


class GrainForInstanceSegmentation(GrainPreTrainedModel):
    """Maps of grain interior, grain boundary and distance to the boundary for micrographs of any size.

    Args:
        config: The configuration; its `backbone_config` describes a `Dinov2Model`.
    """

    def __init__(self, config: GrainConfig) -> None:
        super().__init__(config)
        self.backbone = AutoModel.from_config(config.backbone_config)
        self.decoder = GrainDecoder(config)
        self.post_init()
        if config.freeze_backbone:
            self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls, source: str | os.PathLike, *, freeze: bool = True, **options: Any
    ) -> "GrainForInstanceSegmentation":
        """Start a model for training from the weights of a Dinov2 model, with a fresh decoder.

        Args:
            source: Hub id, such as `facebook/dinov2-small`, or folder of a `Dinov2Model`.
            freeze: Whether only the decoder learns.
            options: Further fields of `GrainConfig`, such as `token_depths` (four, evenly spaced, if left out).

        Returns:
            The model, in evaluation mode as `from_pretrained` leaves it.

        Raises:
            ModelError: If there is no Dinov2 model, or a part of its weights is missing.
            TypeError: If an option is no field of `GrainConfig`.
        """
        if unknown := sorted(options.keys() - GrainConfig.__dataclass_fields__.keys()):
            raise TypeError(
                f"{', '.join(unknown)}: no field of GrainConfig. Expected are those that its docstring names."
            )
        try:
            kind = PreTrainedConfig.get_config_dict(source)[0].get("model_type")
            if kind != Dinov2Config.model_type:
                raise ValueError(f"it holds a model of the type {kind!r}.")
            # transformers would draw what is missing at random, with no more than a warning.
            backbone, report = Dinov2Model.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
            missing = set(report["missing_keys"]) - {"embeddings.mask_token"}  # of training by masks only
            if missing:
                raise ValueError(f"{len(missing)} of its tensors are missing.")
        except UNLOADABLE as error:
            raise ModelError(
                f"The backbone {str(source)!r} could not be loaded: {first_line(error)} Expected is the "
                "Hub id or the folder of a Dinov2 model, such as facebook/dinov2-small. Check the name and the "
                "connection."
            ) from error
        layers = backbone.config.num_hidden_layers
        depths = sorted({max(round(layers * k / 4), 1) for k in (1, 2, 3, 4)})
        options = {"token_depths": depths, "freeze_backbone": freeze, **options}
        model = cls(GrainConfig(backbone_config=backbone.config, **options))
        model.backbone.load_state_dict(backbone.state_dict())
        return model.eval()

    def freeze_backbone(self) -> None:
        """Let only the decoder learn, until `unfreeze_backbone`; the configuration keeps it, and a saved model too."""
        self.config.freeze_backbone = True
        self.backbone.requires_grad_(False).eval()

    def unfreeze_backbone(self) -> None:
        """Let the backbone learn too."""
        self.config.freeze_backbone = False
        self.backbone.requires_grad_(True).train(self.training)

    def train(self, mode: bool = True) -> "GrainForInstanceSegmentation":
        """Switch between training and evaluation; a frozen backbone stays in evaluation, without dropout.

        Args:
            mode: Whether to train.

        Returns:
            This model.
        """
        super().train(mode)
        if self.config.freeze_backbone:
            # Loading replaces the parameters after they were frozen, and ends with evaluation.
            self.backbone.requires_grad_(False).eval()
        return self

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> GrainSegmentationOutput | tuple:
        """Compute the maps, and the loss when labels are given.

        Args:
            pixel_values: (B, 3, H, W) from `GrainImageProcessor`; any H and W.
            labels: Integer (B, H, W): 0 = not a grain, 1.. = grain ids (unique in a picture), -1 = not known. Grains
                that touch have no 0 between them: drawn lines are given to the grains first, such as by scikit-image's
                `expand_labels`, or they are learnt as wide boundaries.
            output_hidden_states: Whether to return the backbone's states; as the configuration says if left out.
            output_attentions: Whether to return the backbone's attention weights, which the model has when it is loaded
                with `attn_implementation="eager"`; as the configuration says if left out.
            return_dict: Whether to return an output object or a tuple; as the configuration says if left out.

        Returns:
            The output; logits have the height and width of `pixel_values`, pixel for pixel.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if return_dict is None:
            return_dict = self.config.return_dict
        height, width = pixel_values.shape[-2:]
        patch = self.config.backbone_config.patch_size
        rows, columns = _cells(height, patch), _cells(width, patch)
        pixel_values = pixel_values.to(self.dtype)
        # Right and bottom only: pixel (0, 0) of the logits stays pixel (0, 0) of the image.
        padded = F.pad(pixel_values, (0, columns * patch - width, 0, rows * patch - height), mode="replicate")
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_backbone):
            tokens = self.backbone(padded, output_hidden_states=True, output_attentions=output_attentions)
        states = [tokens.hidden_states[depth] for depth in self.config.token_depths]
        logits = self.decoder(padded, states, (rows, columns))[..., :height, :width]
        loss = None if labels is None else segmentation_loss(logits, labels, self.config)
        output = GrainSegmentationOutput(
            loss=loss,
            logits=logits,
            hidden_states=tokens.hidden_states if output_hidden_states else None,
            attentions=tokens.attentions,
        )
        return output if return_dict else output.to_tuple()


# Not from a copy loaded as remote code; see configuration_grain.
if __package__ == "grain_model":
    for auto_class in (AutoModel, AutoModelForImageSegmentation):
        auto_class.register(GrainConfig, GrainForInstanceSegmentation, exist_ok=True)
    GrainForInstanceSegmentation.register_for_auto_class()
    from . import pipeline_grain  # noqa: F401  makes the task `grain-counting` known

__all__ = ["GrainForInstanceSegmentation", "GrainPreTrainedModel", "GrainSegmentationOutput"]
