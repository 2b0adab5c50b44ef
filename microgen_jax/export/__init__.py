"""Trained models in the formats of other software: diffusers (both ways) and StableHLO, each with a model card."""

from microgen_jax.export.trained_model import TrainedModel

__all__ = ["TrainedModel"]
