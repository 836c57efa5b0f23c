"""Configuration of the grain model: a DINOv2 backbone and a light decoder."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class GrainConfig(PreTrainedConfig):
    """Configuration of `GrainForInstanceSegmentation`.

    Args:
        backbone_config: Configuration of the `Dinov2Model`; facebook/dinov2-small if left out.
        token_depths: Depths of the backbone whose tokens the decoder reads; 0 is the patch embedding, the last is the
            number of layers.
        token_channels: Channels that the fused tokens are projected to.
        detail_channels: Channels of the detail branch at strides 1, 2, 4 and 8; zeros switch the branch off (for the
            ablation: boundaries are then drawn from the tokens alone).
        context_blocks: Residual blocks at stride 8, where tokens and detail meet.
        num_channels_out: Logit channels: interior, boundary, normalised distance to the boundary.
        freeze_backbone: Whether only the decoder learns.
        interior_weight: Weight of the interior loss.
        boundary_weight: Weight of the boundary loss.
        distance_weight: Weight of the distance loss.
        initializer_range: Standard deviation of the decoder's random weights where no better rule applies.

    Example:
        >>> from grain_model import GrainConfig, GrainForInstanceSegmentation
        >>> model = GrainForInstanceSegmentation(GrainConfig())
    """

    model_type = "grain"
    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="dinov2",
            init_kwargs={
                "hidden_size": 384,
                "num_hidden_layers": 12,
                "num_attention_heads": 6,
                "image_size": 518,
                "patch_size": 14,
            },
        ),
    }

    backbone_config: dict | PreTrainedConfig | None = None
    token_depths: list[int] | tuple[int, ...] = (3, 6, 9, 12)
    token_channels: int = 128
    detail_channels: list[int] | tuple[int, ...] = (16, 32, 64, 128)
    context_blocks: int = 3
    num_channels_out: int = 3
    freeze_backbone: bool = False
    interior_weight: float = 1.0
    boundary_weight: float = 1.0
    distance_weight: float = 1.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        """Name the one kind of segment and of backbone; called by the library when a configuration is made."""
        if self.id2label is None and kwargs.get("num_labels") is None:
            self.id2label, self.label2id = {0: "grain"}, {"grain": 0}
        if isinstance(self.backbone_config, dict):
            self.backbone_config = {"model_type": "dinov2", **self.backbone_config}
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Check what the types alone cannot; called by the library when a configuration is made."""
        if self.backbone_config.model_type != "dinov2":
            raise ValueError(
                f"backbone_config describes a model of the type {self.backbone_config.model_type!r}: expected 'dinov2'."
                " Pass a Dinov2Config, or leave it out for facebook/dinov2-small."
            )
        layers = self.backbone_config.num_hidden_layers
        if not self.token_depths or not all(0 <= depth <= layers for depth in self.token_depths):
            raise ValueError(
                f"token_depths {list(self.token_depths)} do not fit the backbone: expected depths from 0 to {layers}, "
                "its number of layers. Change token_depths or the backbone."
            )
        whole = all(channels > 0 for channels in self.detail_channels) or not any(self.detail_channels)
        if len(self.detail_channels) != 4 or not whole:
            raise ValueError(
                f"detail_channels {list(self.detail_channels)} make no branch: expected four positive numbers, "
                "for strides 1, 2, 4 and 8. Give four; (0, 0, 0, 0) switches the branch off."
            )
        if self.context_blocks < 0:
            raise ValueError(f"context_blocks is {self.context_blocks}: expected 0 or more. Use 3.")
        if self.num_channels_out not in (2, 3):
            raise ValueError(
                f"num_channels_out is {self.num_channels_out}: expected 2, interior and boundary, or 3, with the "
                "distance. Use 3."
            )


# Only the package registers its classes. A copy loaded as remote code must not, or the first revision that a process
# loads would answer for all others.
if __package__ == "grain_model":
    AutoConfig.register(GrainConfig.model_type, GrainConfig, exist_ok=True)
    GrainConfig.register_for_auto_class()

__all__ = ["GrainConfig"]
