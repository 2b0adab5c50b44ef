"""The noise schedule as the `scheduler_config.json` of diffusers' `DDPMScheduler`, and back."""

from collections.abc import Iterable, Mapping
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
MULTISTEP = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
HONOURED, NO_EFFECT = "honoured", "no effect"
# What becomes of every key of these schedulers (diffusers 0.42.1): read by `from_scheduler` and
# `sampling_from_scheduler`; without effect on sampling; or refused unless it has one of the values named.
KEYS: dict[str, str | tuple[Any, ...]] = {
    "num_train_timesteps": HONOURED,
    "beta_schedule": HONOURED,
    "beta_start": HONOURED,
    "beta_end": HONOURED,
    "trained_betas": (None,),
    "rescale_betas_zero_snr": HONOURED,
    "prediction_type": HONOURED,
    "clip_sample": HONOURED,
    "clip_sample_range": (1,),
    "thresholding": HONOURED,
    "dynamic_thresholding_ratio": HONOURED,
    "sample_max_value": HONOURED,
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "steps_offset": (0,),
    "set_alpha_to_one": (True,),
    "variance_type": NO_EFFECT,
    "solver_order": (2, None),
    "solver_type": ("midpoint", "bh2", None),
    "solver_p": (None,),
    "predict_x0": (True,),
    "disable_corrector": ([],),
    "algorithm_type": (None, "dpmsolver++", SDE_SOLVER),
    "lower_order_final": (True,),
    "euler_at_final": (False,),
    "final_sigmas_type": ("zero", None),
    "use_karras_sigmas": (False, None),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "use_flow_sigmas": (False, None),
    "use_dynamic_shifting": (False,),
    "flow_shift": NO_EFFECT,  # of flow sigmas, as are the next two
    "time_shift_type": NO_EFFECT,
    "shift_terminal": (None,),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "lambda_min_clipped": HONOURED,
    # Of other schedulers, left in the file when one is made from another.
    "skip_prk_steps": NO_EFFECT,
    "interpolation_type": NO_EFFECT,
    "sigma_data": NO_EFFECT,
    "rho": NO_EFFECT,
}
# Where a scheduler takes a key otherwise. 'leading' of the multistep solvers ends above time 0, as no spacing here.
KEYS_OF: dict[str, dict[str, tuple[Any, ...]]] = {
    "DDPMScheduler": {"variance_type": ("fixed_small", "fixed_small_log", "fixed_large")},
    "DPMSolverMultistepScheduler": {
        "variance_type": (None, "fixed_small", "fixed_large", "fixed_small_log", "fixed_large_log"),
        "timestep_spacing": ("trailing", "linspace"),
    },
    "UniPCMultistepScheduler": {"timestep_spacing": ("trailing", "linspace")},
}
LEAST_LOG_SNR = -20  # half of it; no schedule reaches so far, and `lambda_min_clipped` below changes nothing
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
        raise _unsupported("_class_name", found, KNOWN)
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

    Their `linspace` of the multistep solvers leaves out the last of n + 1 times and lies within one time of
    `trailing`, which stands for it. Thresholding is dynamic where `sample_max_value`, the bound of its percentile, is
    `NO_BOUND` or more, and plain clipping at 1. The number of steps is not part of a scheduler's configuration.

    Args:
      config: content of a `scheduler_config.json` that `from_scheduler` takes.
    """
    found = config["_class_name"]
    fields = {"sampler": KNOWN[found], "clip": bool(config.get("thresholding", False))}
    if fields["clip"] and config.get("sample_max_value", 1.0) >= NO_BOUND:
        fields["clip_percentile"] = 100 * float(config.get("dynamic_thresholding_ratio", 0.995))
    if found == "DDPMScheduler" and config.get("variance_type") == "fixed_large":
        fields["sampler"] = "ancestral_large"
    if found == "DPMSolverMultistepScheduler" and config.get("algorithm_type") == SDE_SOLVER:
        fields["sampler"] = "dpmpp2m_sde"
    if found in MULTISTEP:
        return {**fields, "spacing": "trailing"}
    fields["clip"] |= bool(config.get("clip_sample", True))
    return {**fields, "spacing": config.get("timestep_spacing", "leading")}


def _check_keys(scheduler: str, config: Mapping[str, Any]) -> None:
    """Refuse keys that would change sampling and are not known, and values that no sampler here has."""
    rules = KEYS | KEYS_OF.get(scheduler, {})
    for key, value in config.items():
        if key.startswith("_"):
            continue
        if key not in rules:
            raise UserError(
                FILE, f"{key}={value!r} is not known to this version", "remove the key if it is not needed"
            )
        if isinstance(rules[key], tuple) and value not in rules[key]:
            raise _unsupported(key, value, rules[key])
    lowest = config.get("lambda_min_clipped")
    if lowest is not None and not (isinstance(lowest, (int, float)) and lowest < LEAST_LOG_SNR):
        raise _unsupported("lambda_min_clipped", lowest, ("-Infinity",))
    bound = config.get("sample_max_value", 1.0)
    if config.get("thresholding", False) and bound != 1 and bound < NO_BOUND:
        raise _unsupported("sample_max_value", bound, (1.0, f"{NO_BOUND:g} or more"))
    spacing = config.get("timestep_spacing", "trailing" if scheduler in MULTISTEP else "leading")
    if config.get("rescale_betas_zero_snr", False) and spacing == "leading":
        problem = (
            "timestep_spacing='leading' starts below the SNR of zero that rescale_betas_zero_snr asks for"
        )
        raise UserError(FILE, problem, "set it to 'trailing'")


def _ours(field: str, theirs: str, names: Mapping[str, str]) -> str:
    for ours, name in names.items():
        if name == theirs:
            return ours
    raise _unsupported(field, theirs, names.values())


def _unsupported(field: str, value: Any, supported: Iterable[Any]) -> UserError:
    return UserError(
        FILE,
        f"{field}={value!r} is not supported",
        f"supported: {', '.join(map(str, supported))}",
    )
