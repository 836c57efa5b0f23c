"""The transformers pipeline `grain-counting`: micrographs in; count, labels, mask, table and grain size out."""

from __future__ import annotations

from typing import Any

from transformers import AutoModel, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from .analysis import GrainAnalysis, analyze
from .label_settings import LabelSettings
from .micrograph import Micrograph, as_micrograph
from .weights_origin import describe_weights

TASK = "grain-counting"

CUSTOM_PIPELINES = {TASK: {"impl": "pipeline_grain.GrainCountingPipeline", "pt": ["AutoModel"]}}
"""What config.json holds under `custom_pipelines`, so that `trust_remote_code=True` finds this class."""

_READ = ("um_per_pixel", "page")
_COUNT = ("method", "boundary_sensitivity", "min_grain_area")


class GrainCountingPipeline(Pipeline):
    """Counts the grains of micrographs with the model that the pipeline was made with.

    Takes a path, PIL image, array or `Micrograph`, or a list of these; the options `um_per_pixel` and `page` of
    `read_micrograph`, and `method`, `boundary_sensitivity` and `min_grain_area` of `count_grains`. Returns for each a
    dictionary with

    - `count`: int;
    - `labels`: int32 (H, W), 1..count, 0 = boundary, gap or not a grain;
    - `mask`: bool (H, W), true in a grain;
    - `table`: pandas.DataFrame, one row a grain;
    - `grain_size`: `GrainSize`, ASTM grain-size numbers with their intervals (G needs `um_per_pixel`);
    - `warnings`: list of str, what a reader has to know about the file and what makes the result doubtful, which are
      the `remarks` of `GrainAnalysis`.

    Micrographs differ in size, so they run one at a time whatever `batch_size` says.
    """

    _load_tokenizer = False
    _load_feature_extractor = False
    _load_video_processor = False
    _load_processor = False
    _load_image_processor = None

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Count the grains of one micrograph or of each of a list; see the class."""
        return super().__call__(inputs, batch_size=1, **kwargs)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict, dict, dict]:
        unknown = set(parameters) - {*_READ, *_COUNT}
        if unknown:
            raise TypeError(
                f"The pipeline {TASK!r} has no option {', '.join(sorted(unknown))}. "
                f"Its options are {', '.join((*_READ, *_COUNT))}. Remove or rename it."
            )
        read = {name: parameters[name] for name in _READ if name in parameters}
        count = {name: parameters[name] for name in _COUNT if name in parameters}
        return read, count, {}

    def preprocess(
        self, input_: Any, um_per_pixel: float | None = None, page: int | None = None
    ) -> dict[str, Micrograph]:
        """Read the image and its scale."""
        return {"micrograph": as_micrograph(input_, um_per_pixel, page)}

    def _forward(self, input_tensors: dict[str, Micrograph], **options: Any) -> dict[str, GrainAnalysis]:
        settings, weights = LabelSettings(**options), describe_weights(self.model)
        return {"analysis": analyze(input_tensors["micrograph"], self.model, weights, settings)}

    def postprocess(self, model_outputs: dict[str, GrainAnalysis]) -> dict[str, Any]:
        """Take the parts of the analysis that a pipeline returns."""
        analysis = model_outputs["analysis"]
        return {
            "count": analysis.count,
            "labels": analysis.labels,
            "mask": analysis.mask,
            "table": analysis.table,
            "grain_size": analysis.grain_size,
            "warnings": analysis.remarks,
        }


# For `pipeline("grain-counting", model=a_loaded_model)`, whose class imports this; a second import of the same source
# changes nothing.
if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(TASK, GrainCountingPipeline, pt_model=AutoModel)
