"""Training: state, optimizer, averages, the loop, checkpoints, logs, and the status of a run.

`microgen_jax.methods` defines an update; this package repeats it and stores the results.
"""

from microgen_jax.training.status import TrainingStatus, training_status

__all__ = ["TrainingStatus", "training_status"]
