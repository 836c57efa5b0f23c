"""Kinds of command-line arguments: `type=` functions that turn a wrong value into a usage error."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .paths import expand_home
from .scale import LARGEST_SCALE, SMALLEST_SCALE

ALL_PAGES = "all"
"""What stands for every page of a file."""

Number = TypeVar("Number", int, float)


def file_path(text: str) -> Path:
    """Read the path of a file or folder; an empty one, as of a variable that is not set, is none."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; that of a file or folder is expected, such as .")
    return expand_home(text)


def positive_number(text: str) -> float:
    """Read a finite number above 0."""
    return _read(text, float, lambda number: 0 < number < math.inf, "finite number above 0, such as 0.25")


def scale(text: str) -> float:
    """Read a scale in um per pixel."""
    return _read(
        text,
        float,
        lambda number: SMALLEST_SCALE <= number <= LARGEST_SCALE,
        f"number of um per pixel from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, such as 0.25",
    )


def non_negative_number(text: str) -> float:
    """Read a finite number from 0 up."""
    return _read(text, float, lambda number: 0 <= number < math.inf, "finite number from 0 up, such as 40")


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    return _read(text, float, lambda number: 0 <= number <= 1, "number from 0 to 1, such as 0.5")


def positive_integer(text: str) -> int:
    """Read a whole number from 1 up."""
    return _read(text, _whole, lambda number: number >= 1, "whole number from 1 up, such as 1")


def natural_number(text: str) -> int:
    """Read a whole number from 0 up."""
    return _read(text, _whole, lambda number: number >= 0, "whole number from 0 up, such as 0")


def page_number(text: str) -> int | str:
    """Read the number of a page, from 0 up, or "all"."""
    return ALL_PAGES if text == ALL_PAGES else natural_number(text)


def kernel_side(text: str) -> int:
    """Read the side of a kernel with a centre: an odd number of pixels from 3 up."""
    return _read(
        text, _whole, lambda number: number >= 3 and number % 2 == 1, "odd number of pixels from 3 up, such as 5"
    )


def _whole(text: str) -> int:
    if not text.isdecimal():  # `int` also takes signs, spaces and underscores
        raise ValueError
    return int(text)


def _read(text: str, read: Callable[[str], Number], is_allowed: Callable[[Number], bool], expected: str) -> Number:
    try:
        number = read(text)
    except ValueError:
        number = None
    if number is None or not is_allowed(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no {expected}")
    return number
