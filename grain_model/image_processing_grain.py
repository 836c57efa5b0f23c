"""The image processor: micrographs in, `pixel_values` for the model out; the model's logits in, grains out."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import ChannelDimension, PILImageResampling, SizeDict

from .configuration_grain import GrainConfig
from .errors import ImageError
from .foreign import foreign_regions
from .instances import label_grains
from .label_settings import DEFAULT_SETTINGS, LabelSettings, Method
from .micrograph import read_micrograph
from .pixels import from_pil, to_rgb

# Below this contrast (standard deviation of grey levels in [0, 1]) a picture counts as flat and is not stretched
# further, or its noise would pass for structure.
MIN_CONTRAST = 0.02
# Regions that are foreign to the material are left out of mean and deviation where the rest has less than this share of
# the whole's deviation; it is then cut to so many deviations.
FOREIGN_CONTRAST = 0.5
FOREIGN_LEVEL = 3.0
# Options of the processors of transformers that this one does not offer, with the only value that it takes; `None` is
# as if the option were left out.
FIXED_OPTIONS = {
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": None,
    "image_std": None,
    "do_center_crop": False,
    "do_pad": False,
    "data_format": ChannelDimension.FIRST,
}
# The channels are one picture in one colour where their first principal component has this share of the variance.
ONE_COLOUR = 0.97


def standardize(rgb: np.ndarray) -> np.ndarray:
    """Bring a micrograph to mean 0 and standard deviation 1, over all its pixels and channels together.

    Brightness, gain and exposure differ between microscopes and say nothing of grains; the relation of the channels
    to one another is kept. A picture in one colour, as a green filter gives it, becomes grey first. Black pores or the
    surround of an eyepiece (see `foreign_regions`) would take the contrast from grains that differ by few grey levels:
    there the mean and the deviation are those of the rest.

    Args:
        rgb: uint8 (H, W, 3).

    Returns:
        float32 (3, H, W): (x / 255 - mean) / max(standard deviation, 0.02); within -3 to 3 where regions were left out.
    """
    rgb = without_tint(rgb)
    mean, deviation = _mean_and_deviation(rgb)
    highest = np.inf
    rest = _mean_and_deviation(rgb, ~foreign_regions(rgb))
    if rest[1] < FOREIGN_CONTRAST * deviation:
        (mean, deviation), highest = rest, FOREIGN_LEVEL
    levels = ((np.arange(256) - mean) / max(deviation, 255 * MIN_CONTRAST)).clip(-highest, highest)
    # By a table, since there are only 256 grey levels: several times as fast as arithmetic on every pixel.
    return np.ascontiguousarray(cv2.LUT(rgb, levels.astype(np.float32)).transpose(2, 0, 1))


def without_tint(rgb: np.ndarray) -> np.ndarray:
    """A picture in one colour in grey, its channels weighted by how much they vary; any other as it is.

    Args:
        rgb: uint8 (H, W, 3).

    Returns:
        uint8 (H, W, 3).
    """
    sample = rgb.reshape(-1, 3)[:: max(1, rgb.size // 1_000_000)]
    shares, directions = np.linalg.eigh(np.cov(sample, rowvar=False, bias=True))
    weights = directions[:, -1] * np.sign(directions[:, -1].sum())
    if shares[-1] < ONE_COLOUR * shares.sum() or shares[-1] == 0 or weights.min() < -0.05:
        return rgb
    weights = weights.clip(0) / weights.clip(0).sum()
    if np.ptp(weights) < 1e-6:  # grey already
        return rgb
    grey = cv2.transform(rgb, weights[None].astype(np.float32))
    return cv2.merge([grey] * 3)


def _mean_and_deviation(rgb: np.ndarray, where: np.ndarray | None = None) -> tuple[float, float]:
    """Mean and standard deviation of the marked pixels, over all channels together."""
    means, deviations = cv2.meanStdDev(rgb, mask=None if where is None else where.astype(np.uint8))
    mean = means.mean()
    return mean, np.sqrt((deviations**2 + means**2).mean() - mean**2)


class GrainImageProcessor(PilBackend):
    """Prepares micrographs for `GrainForInstanceSegmentation` and turns its output into grains.

    Takes paths, PIL images, numpy arrays and torch tensors; grey, RGB and RGBA; 8 bit, 16 bit and float (see
    `to_rgb`); one, a batch of four dimensions, or a list. Needs no torchvision. Every picture is standardised by its
    own mean and contrast (see `standardize`) and by default keeps its size. That it is standardised is part of how the
    model was trained: options of other image processors that would change it, crop or pad are refused. The strip of
    text under an SEM picture and margins, which `count_grains` leaves out, stay in: `read_micrograph("sem.tif").field`
    is the picture without them.

    Args:
        do_resize: Whether to resize to `size` (off by default: the model takes any size).
        size: Height and width after resizing.
        resample: PIL's filter for it.

    Example:
        >>> inputs = processor("steel.png", return_tensors="pt")
        >>> grains = processor.post_process_instance_segmentation(model(**inputs))[0]["segmentation"]
    """

    model_input_names = ["pixel_values"]
    do_resize = False
    rescale_factor = None
    resample = PILImageResampling.BICUBIC

    def _prepare_images_structure(self, images: Any, expected_ndims: int = 3) -> list[Any]:
        if isinstance(images, (list, tuple)):
            if not images:
                raise ImageError("The list holds no picture. At least one is expected. Pass a picture.")
            return [image for item in images for image in self._prepare_images_structure(item)]
        if isinstance(images, str) and "://" in images:
            return [self.fetch_images(images)]
        if isinstance(images, (str, os.PathLike)):
            return [read_micrograph(images).pixels]
        if getattr(images, "ndim", 0) == expected_ndims + 1:
            return list(images)
        return [images]

    def process_image(
        self, image: Any, input_data_format: str | ChannelDimension | None = None, **_: Any
    ) -> np.ndarray:
        """Convert one picture of any kind.

        Args:
            image: PIL image, array or tensor; without `input_data_format` arrays have their channels last and tensors
                first, unless only the other reading gives 1, 3 or 4 channels.
            input_data_format: `"channels_first"` or `"channels_last"`.

        Returns:
            uint8 (3, H, W), RGB.

        Raises:
            ImageError: If it is no picture; see `to_rgb`.
        """
        if isinstance(image, Image.Image):
            return to_rgb(from_pil(image)).transpose(2, 0, 1)
        if isinstance(image, torch.Tensor):
            first = _channels_first(image.shape, input_data_format, first_by_default=True)
            image = image.detach().cpu()
            pixels = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
        elif isinstance(image, np.ndarray):
            first = _channels_first(image.shape, input_data_format, first_by_default=False)
            pixels = image
        else:
            raise ImageError(
                f"A picture cannot be made of {type(image).__name__}. A path, PIL image, numpy array or torch tensor "
                "is expected, or a list of these. Convert it first."
            )
        return to_rgb(np.moveaxis(pixels, 0, -1) if first else pixels).transpose(2, 0, 1)

    def _preprocess(
        self,
        images: list[np.ndarray],
        do_resize: bool | None,
        size: SizeDict | None,
        resample: int | None,
        return_tensors: str | None,
        **options: Any,
    ) -> BatchFeature:
        if other := {
            name: options[name] for name in FIXED_OPTIONS if options.get(name) not in (None, FIXED_OPTIONS[name])
        }:
            asked = ", ".join(f"{name}={value!r}" for name, value in other.items())
            raise ImageError(
                f"The image processor was told {asked}. Every picture is standardised as a whole, and comes as "
                "(3, height, width). Leave that out; what is standardised already goes to the model as it is."
            )
        if size is not None and not do_resize:
            raise ImageError(
                "The image processor was told a size, and not to resize. Pictures keep their size unless "
                "do_resize=True stands beside it. Add that, or leave the size out."
            )
        if do_resize:
            images = [self.resize(image, size, resample) for image in images]
        sizes = {image.shape[1:] for image in images}
        if return_tensors and len(sizes) > 1:
            listed = ", ".join(f"{height}x{width}" for height, width in sorted(sizes))
            raise ImageError(
                f"The pictures of the batch differ in height and width: {listed}. A tensor holds pictures of one size. "
                "Pass them one at a time, or resize them with do_resize=True and size={'height': ..., 'width': ...}."
            )
        pixel_values = [standardize(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in images]
        return BatchFeature({"pixel_values": pixel_values}, tensor_type=return_tensors)

    def post_process_instance_segmentation(
        self,
        outputs: Any,
        target_sizes: list[tuple[int, int]] | torch.Tensor | None = None,
        *,
        threshold: float = 0.0,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        method: Method = DEFAULT_SETTINGS.method,
        boundary_sensitivity: float = DEFAULT_SETTINGS.boundary_sensitivity,
        min_grain_area: float | None = None,
    ) -> list[dict[str, Any]]:
        """Turn the model's logits into grains.

        Args:
            outputs: What `GrainForInstanceSegmentation` returned, with `logits` (B, C, H, W).
            target_sizes: Height and width of each picture's result, as a list or a tensor (B, 2); `None` keeps those
                of the logits.
            threshold: Grains with a lower score are left out; the image-segmentation pipeline of transformers passes
                0.9 unless it is told otherwise.
            mask_threshold: Of that pipeline, without effect: no grain has a mask of its own to be cut.
            overlap_mask_area_threshold: Of that pipeline, without effect: grains do not overlap.
            method: See `LabelSettings`.
            boundary_sensitivity: See `LabelSettings`.
            min_grain_area: See `LabelSettings`; in px of the result.

        Returns:
            For each picture `"segmentation"`, int32 (H, W): 0 where there is no grain, else the grain's id from 1; and
            `"segments_info"`, a list with each grain's `"id"`, `"label_id"` (0, which `config.id2label` calls a grain),
            `"area"` in px and `"score"`, the model's confidence in [0, 1].

        Raises:
            ImageError: If there are not as many target sizes as pictures.
            MeasurementError: If a setting does not fit; see `LabelSettings`.
        """
        settings = LabelSettings(method, boundary_sensitivity, min_grain_area)
        logits = outputs.logits.detach().float().cpu()
        if target_sizes is not None and len(target_sizes) != len(logits):
            raise ImageError(
                f"There are {len(target_sizes)} target sizes for {len(logits)} pictures. One (height, width) for each "
                "picture is expected. Pass as many, or leave them out."
            )
        results = []
        for index, maps in enumerate(logits):
            target = maps.shape[1:] if target_sizes is None else target_sizes[index]
            size = tuple(int(side) for side in target)
            labels, confidence = label_grains(torch.sigmoid(maps).numpy(), settings, size=size)
            areas = np.bincount(labels.ravel(), minlength=len(confidence) + 1)[1:]
            is_kept = np.append(False, confidence >= threshold)
            results.append(
                {
                    "segmentation": torch.from_numpy(np.where(is_kept[labels], labels, 0)),
                    "segments_info": [
                        {"id": grain, "label_id": 0, "area": int(area), "score": float(score)}
                        for grain, (area, score) in enumerate(zip(areas, confidence, strict=True), start=1)
                        if is_kept[grain]
                    ],
                }
            )
        return results


def _channels_first(shape: tuple[int, ...], declared: str | ChannelDimension | None, *, first_by_default: bool) -> bool:
    """Whether the channels of an array of this shape come first."""
    if len(shape) != 3:
        return False
    if declared is not None:
        return ChannelDimension(declared) is ChannelDimension.FIRST
    could_be_first, could_be_last = shape[0] in (1, 3, 4), shape[2] in (1, 3, 4)
    return could_be_first if could_be_first != could_be_last else first_by_default


# Not from a copy loaded as remote code; see configuration_grain.
if __package__ == "grain_model":
    AutoImageProcessor.register(GrainConfig, image_processor_classes={"pil": GrainImageProcessor}, exist_ok=True)
    GrainImageProcessor.register_for_auto_class()

__all__ = ["GrainImageProcessor", "standardize"]
