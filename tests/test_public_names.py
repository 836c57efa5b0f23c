"""The names that `grain_model` offers, and what importing them costs."""

import subprocess
import sys

import pytest

import grain_model


def test_every_public_name_can_be_imported():
    for name in grain_model.__all__:
        assert getattr(grain_model, name) is not None
    assert set(grain_model.__all__) <= set(dir(grain_model))
    with pytest.raises(AttributeError, match="no attribute 'count_grain'"):
        grain_model.count_grain  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, grain_model; sys.exit(bool({'torch', 'transformers', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize("name", ["read_micrograph", "ImageError", "__version__"])
def test_reading_an_image_loads_no_network(name):
    code = f"import sys; from grain_model import {name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_all_errors_have_one_base():
    for name in ("ImageError", "ScaleError", "ModelError", "MeasurementError"):
        assert issubclass(getattr(grain_model, name), grain_model.GrainError)
