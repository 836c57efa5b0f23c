"""What `python -m train publish` is made of: cards, folders, their checks, and the upload."""

from grain_model.errors import GrainError


class PublishError(GrainError):
    """The model or its Space cannot be published as asked; what was published before stays as it was."""
