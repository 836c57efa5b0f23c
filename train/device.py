"""What a training computes on."""

from __future__ import annotations

import torch

from train.fit_options import FitOptionError


def find_device(name: str) -> torch.device:
    """The device of this name; of `auto` a graphics card where there is one.

    Raises:
        FitOptionError: If there is none of the name here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without that kind
        raise FitOptionError(
            f"There is no device {name!r} here ({str(error).splitlines()[0]}). Expected is cpu, auto, or cuda where "
            "there is a graphics card. Change --device."
        ) from error


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions of its own for bfloat16, which make a step two to three times as fast."""
    return device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
