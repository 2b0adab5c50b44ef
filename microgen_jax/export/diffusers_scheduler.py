"""The noise schedule as the `scheduler_config.json` of diffusers' `DDPMScheduler`, and back."""

from collections.abc import Mapping
from typing import Any

from microgen_jax.errors import UserError

FILE = "scheduler/scheduler_config.json"
SCHEDULE_NAMES = {"linear": "linear", "cosine": "squaredcos_cap_v2", "sigmoid": "sigmoid"}
PREDICTION_NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
KNOWN = {  # schedulers that share these fields, and the sampler that each is here
    "DDPMScheduler": "ancestral",
    "DDIMScheduler": "ddim",
    "DPMSolverMultistepScheduler": "dpmpp2m",
    "UniPCMultistepScheduler": "unipc",
}
SDE_SOLVER = "sde-dpmsolver++"
# Values of keys that change sampling and that the samplers here have; any other value is refused.
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "trained_betas": (None,),
    "clip_sample_range": (1, 1.0),
    "steps_offset": (0,),
    "use_karras_sigmas": (False, None),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_flow_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "euler_at_final": (False,),
    "lower_order_final": (True,),
    "final_sigmas_type": ("zero", None),
    "solver_type": ("midpoint", "bh2", None),
    "solver_order": (2, None),
    "solver_p": (None,),
    "disable_corrector": ([], ()),
    "predict_x0": (True,),
    "set_alpha_to_one": (True,),
    "use_dynamic_shifting": (False,),
    "sigma_min": (None,),
    "sigma_max": (None,),
}
VARIANCES = {
    "DDPMScheduler": ("fixed_small", "fixed_small_log", "fixed_large"),
    "DPMSolverMultistepScheduler": (None, "fixed_small", "fixed_large", "fixed_small_log", "fixed_large_log"),
}
SPACINGS = ("leading", "trailing", "linspace")
ALGORITHMS = (None, "dpmsolver++", SDE_SOLVER)
# Read by `from_scheduler` and `sampling_from_scheduler`, or without a part in sampling.
READ = {
    "num_train_timesteps",
    "beta_schedule",
    "beta_start",
    "beta_end",
    "rescale_betas_zero_snr",
    "prediction_type",
    "variance_type",
    "clip_sample",
    "thresholding",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "timestep_spacing",
    "algorithm_type",
}
# Of other schedulers, left in the file when one is made from another, or without effect where the rest is supported.
DESCRIPTIVE = {
    "skip_prk_steps",
    "flow_shift",
    "lambda_min_clipped",
    "interpolation_type",
    "sigma_data",
    "rho",
}
NO_BOUND = 1e6  # of the percentile in dynamic thresholding; at 1, their default, that is plain clipping


def to_ddpm_scheduler(
    *,
    schedule: str,
    timesteps: int,
    beta_start: float,
    beta_end: float,
    zero_terminal_snr: bool,
    prediction: str,
    clip: bool = True,
    clip_percentile: float = 0.0,
    large_variance: bool = False,
) -> dict[str, Any]:
    """Return `scheduler/scheduler_config.json`: the same betas, and steps that are spaced as `trailing`.

    Args:
      schedule: name of the schedule: 'linear', 'cosine' or 'sigmoid'.
      timesteps: length T of the chain.
      beta_start: first beta; diffusers' cosine schedule ignores it as ours does.
      beta_end: last beta.
      zero_terminal_snr: whether nothing of the image is left at T-1.
      prediction: output of the network: 'eps', 'x0' or 'v'.
      clip: whether the predicted x0 is kept in [-1, 1].
      clip_percentile: percentile of |x0|, for dynamic thresholding; 0 is plain clipping.
      large_variance: whether ancestral steps have the large variance.
    """
    thresholding = {"thresholding": False}
    if clip and clip_percentile:
        thresholding = {
            "thresholding": True,
            "dynamic_thresholding_ratio": clip_percentile / 100,
            "sample_max_value": NO_BOUND,
        }
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": timesteps,
        "beta_schedule": SCHEDULE_NAMES[schedule],
        "beta_start": beta_start,
        "beta_end": beta_end,
        "trained_betas": None,
        "prediction_type": PREDICTION_NAMES[prediction],
        "rescale_betas_zero_snr": zero_terminal_snr,
        "variance_type": "fixed_large" if large_variance else "fixed_small",
        "clip_sample": clip,
        "clip_sample_range": 1.0,
        **thresholding,
        "timestep_spacing": "trailing",
        "steps_offset": 0,
    }


def from_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `config.diffusion` that a scheduler's configuration decides.

    Args:
      config: content of `scheduler_config.json`.

    Raises:
      UserError: a scheduler, a schedule, a prediction or a key that changes sampling that there is not here.
    """
    found = config.get("_class_name")
    if found not in KNOWN:
        raise _unsupported("_class_name", found, tuple(KNOWN))
    _check_keys(found, config)
    return {
        "schedule": _ours("beta_schedule", config.get("beta_schedule", "linear"), SCHEDULE_NAMES),
        "timesteps": config.get("num_train_timesteps", 1000),
        "beta_start": float(config.get("beta_start", 1e-4)),
        "beta_end": float(config.get("beta_end", 0.02)),
        "zero_terminal_snr": bool(config.get("rescale_betas_zero_snr", False)),
        "prediction": _ours("prediction_type", config.get("prediction_type", "epsilon"), PREDICTION_NAMES),
    }


def sampling_from_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `config.sample` that a scheduler's configuration decides: sampler, clipping, spacing.

    The spacing is taken where it is the same here: of DDPM and DDIM (their default is 'leading'), and not
    where it would start below a terminal SNR of zero. Thresholding is dynamic here where
    `sample_max_value`, the bound of its percentile, is above their default of 1, and then has no bound. The
    number of steps is not part of a scheduler's configuration.

    Args:
      config: content of a `scheduler_config.json` that `from_scheduler` takes.
    """
    found = config["_class_name"]
    fields = {"sampler": KNOWN[found], "clip": bool(config.get("thresholding", False))}
    if fields["clip"] and config.get("sample_max_value", 1.0) > 1:
        fields["clip_percentile"] = 100 * float(config.get("dynamic_thresholding_ratio", 0.995))
    if found == "DDPMScheduler" and config.get("variance_type") == "fixed_large":
        fields["sampler"] = "ancestral_large"
    if config.get("algorithm_type") == SDE_SOLVER:
        fields["sampler"] = "dpmpp2m_sde"
    if found in ("DDPMScheduler", "DDIMScheduler"):
        fields["clip"] |= bool(config.get("clip_sample", True))
        if not config.get("rescale_betas_zero_snr", False):
            fields["spacing"] = config.get("timestep_spacing", "leading")
    return fields


def _check_keys(scheduler: str, config: Mapping[str, Any]) -> None:
    """Refuse keys that would change sampling and are not known, and values that no sampler here has."""
    for key, value in config.items():
        if key in SUPPORTED and value not in SUPPORTED[key]:
            raise _unsupported(key, value, tuple(map(str, SUPPORTED[key])))
        if key not in SUPPORTED and key not in READ | DESCRIPTIVE and not key.startswith("_"):
            raise UserError(
                FILE, f"{key}={value!r} is not known to this version", "remove the key if it is not needed"
            )
    checks = {
        "timestep_spacing": SPACINGS,
        "algorithm_type": ALGORITHMS,
        "variance_type": VARIANCES.get(scheduler),
    }
    for key, supported in checks.items():
        if key in config and supported is not None and config[key] not in supported:
            raise _unsupported(key, config[key], tuple(map(str, supported)))
    lowest = config.get("lambda_min_clipped")
    if lowest is not None and not (isinstance(lowest, (int, float)) and lowest < -20):
        raise _unsupported("lambda_min_clipped", config["lambda_min_clipped"], ("-Infinity",))


def _ours(field: str, theirs: str, names: Mapping[str, str]) -> str:
    for ours, name in names.items():
        if name == theirs:
            return ours
    raise _unsupported(field, theirs, tuple(names.values()))


def _unsupported(field: str, value: Any, supported: tuple[str, ...]) -> UserError:
    return UserError(
        FILE,
        f"{field}={value!r} is not supported",
        f"supported: {', '.join(supported)}",
    )
