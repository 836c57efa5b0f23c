"""Kinds of command-line arguments: `type=` functions that turn a wrong value into a usage error."""

from __future__ import annotations

import argparse


def positive_number(text: str) -> float:
    """Read a finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no finite number above 0")
    return number


def weight(text: str) -> float:
    """Read a finite number from 0 up."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no finite number from 0 up")
    return number


def positive_integer(text: str) -> int:
    """Read a whole number from 1 up."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 up")
    return number


def natural_number(text: str) -> int:
    """Read a whole number from 0 up."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0 up")
    return number


def kernel_side(text: str) -> int:
    """Read the side of a kernel with a centre: an odd number of pixels from 3 up."""
    number = int(text)
    if number < 3 or number % 2 == 0:
        raise argparse.ArgumentTypeError(f"{text} is no odd number of pixels from 3 up")
    return number
