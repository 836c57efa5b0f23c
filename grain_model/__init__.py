"""Segment, count and measure the grains on micrographs.

    from grain_model import count_grains

    analysis = count_grains("steel.png", um_per_pixel=0.37)
    analysis.count, analysis.table, analysis.grain_size.saltykov.G

The names below are imported when first used, so that reading an image or measuring a label image loads no network.
Importing the model, its configuration or its image processor also makes them known to the auto classes of transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .analysis import GrainAnalysis
    from .configuration_grain import GrainConfig
    from .correction import Edit
    from .counting import count_grains
    from .errors import CorrectionError, GrainError, ImageError, MeasurementError, ModelError, ScaleError
    from .export import export_grains
    from .field_mean import average_fields
    from .image_processing_grain import GrainImageProcessor
    from .micrograph import Micrograph, read_micrograph
    from .modeling_grain import GrainForInstanceSegmentation
    from .onnx_export import export_onnx
    from .report import write_report
    from .report_content import compose_report

_HOMES = {
    "CorrectionError": "errors",
    "Edit": "correction",
    "GrainAnalysis": "analysis",
    "GrainConfig": "configuration_grain",
    "GrainError": "errors",
    "GrainForInstanceSegmentation": "modeling_grain",
    "GrainImageProcessor": "image_processing_grain",
    "ImageError": "errors",
    "MeasurementError": "errors",
    "Micrograph": "micrograph",
    "ModelError": "errors",
    "ScaleError": "errors",
    "average_fields": "field_mean",
    "compose_report": "report_content",
    "count_grains": "counting",
    "export_grains": "export",
    "export_onnx": "onnx_export",
    "read_micrograph": "micrograph",
    "write_report": "report",
}

__all__ = [
    "CorrectionError",
    "Edit",
    "GrainAnalysis",
    "GrainConfig",
    "GrainError",
    "GrainForInstanceSegmentation",
    "GrainImageProcessor",
    "ImageError",
    "MeasurementError",
    "Micrograph",
    "ModelError",
    "ScaleError",
    "__version__",
    "average_fields",
    "compose_report",
    "count_grains",
    "export_grains",
    "export_onnx",
    "read_micrograph",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
