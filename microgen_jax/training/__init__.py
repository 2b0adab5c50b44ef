"""How a run is trained: state, optimizer, averages, the loop, checkpoints, logs, and what a run's folder says of it.

The methods of `microgen_jax.methods` bring the arithmetic of an update; this package repeats it, and keeps what comes
out.
"""

from microgen_jax.training.status import TrainingStatus, training_status

__all__ = ["TrainingStatus", "training_status"]
