"""Pictures of a fit, in the form of scikit-learn's Displays; drawing needs matplotlib."""

from .attribution import AttributionDisplay
from .embedding import EmbeddingDisplay
from .projection_error import ProjectionErrorDisplay
from .training_curve import TrainingCurveDisplay
from .verdict import LearningVerdict, learning_verdict

__all__ = [
    "AttributionDisplay",
    "EmbeddingDisplay",
    "LearningVerdict",
    "ProjectionErrorDisplay",
    "TrainingCurveDisplay",
    "learning_verdict",
]
