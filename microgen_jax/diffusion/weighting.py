"""How much the squared error at each time counts.

Errors of the three predictions are one error in three scales, so a weight of one is a weight of all:

  (1) |x0 err|^2 = |eps err|^2 / SNR = |v err|^2 / (SNR + 1)

The weights of the x0 error, SNR = exp(log_snr):

  (2) min_snr  min(SNR, gamma)                        Hang et al. 2023, section 3.4; gamma = 5
  (3) p2       SNR / (k + SNR)^g                      Choi et al. 2022, eq. 8; k = g = 1
  (4) vlb      T/2 (SNR[t-1] - SNR[t])                Kingma et al. 2021, eq. 13; see `vlb` for its time 0

`uniform` is the plain mean-squared error of whatever is predicted (eps: Ho et al. 2020, eq. 14), so it alone
means something else for each prediction.
"""

import numpy as np
from jaxtyping import Float64

from microgen_jax.diffusion.process import require_prediction
from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.errors import require_known

WEIGHTINGS = ("uniform", "min_snr", "p2", "vlb")


def loss_weights(
    weighting: str,
    prediction: str,
    schedule: Schedule,
    *,
    min_snr_gamma: float = 5.0,
    p2_k: float = 1.0,
    p2_gamma: float = 1.0,
) -> Float64[np.ndarray, "T"]:
    """Return the factor of the squared error of `prediction` at every time.

    Args:
      weighting: 'uniform', 'min_snr', 'p2' or 'vlb'.
      prediction: 'eps', 'x0' or 'v'.
      schedule: noise schedule of the chain.
      min_snr_gamma: SNR at which min_snr stops growing.
      p2_k: constant k of p2.
      p2_gamma: exponent g of p2.

    Raises:
      UserError: an unknown name, or eps with zero terminal SNR.
    """
    require_known("weighting", weighting, WEIGHTINGS)
    require_prediction(prediction, schedule)
    snr = np.exp(schedule.log_snr)
    if weighting == "uniform":
        return np.ones_like(snr)
    weights_of_x0 = {
        "min_snr": np.minimum(snr, min_snr_gamma),  # (2)
        "p2": snr / (p2_k + snr) ** p2_gamma,  # (3)
        "vlb": vlb_weights(schedule),  # (4)
    }[weighting]
    return weights_of_x0 / {"x0": np.ones_like(snr), "eps": snr, "v": snr + 1}[prediction]  # (1)


def vlb_weights(schedule: Schedule) -> Float64[np.ndarray, "T"]:
    """Return T times the weight of each x0 error in the variational bound, in nats (4).

    At time 0 the bound holds the decoder, a Gaussian about the predicted x0 of variance sigma[0]^2.
    """
    snr = np.exp(schedule.log_snr)
    steps = np.concatenate([[1 / schedule.sigma[0] ** 2], snr[:-1] - snr[1:]])
    return 0.5 * schedule.timesteps * steps
