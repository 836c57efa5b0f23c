"""Leads `trust_remote_code=True` to the installed package; copies of a model elsewhere hold the code itself."""

try:
    from grain_model.pipeline_grain import GrainCountingPipeline
except ModuleNotFoundError as error:
    if not str(error.name).startswith("grain_model"):
        raise
    raise ModuleNotFoundError(
        "The code of these weights is the package grain_model, which is not installed. Weights inside the package are "
        "loaded with it. Run `pip install .` in its repository, or work in the repository's root folder."
    ) from error

__all__ = ["GrainCountingPipeline"]
