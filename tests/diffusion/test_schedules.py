import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.diffusion.schedules import SCHEDULES, at, make_schedule, still_visible
from microgen_jax.errors import UserError


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_tables_belong_together(name, zero_terminal_snr):
    s = make_schedule(name, 100, zero_terminal_snr=zero_terminal_snr)
    np.testing.assert_allclose(s.alpha**2 + s.sigma**2, 1, atol=1e-15)
    np.testing.assert_allclose(np.cumprod(1 - s.beta), s.alpha_bar, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(np.exp(s.log_snr), s.alpha**2 / s.sigma**2, rtol=1e-9)
    assert np.all(np.diff(s.log_snr) < 0)
    assert all(table.dtype == np.float64 and table.shape == (100,) for table in s)


def test_linear_ends_where_ddpm_ends():
    s = make_schedule("linear")
    assert s.timesteps == 1000
    np.testing.assert_allclose([s.beta[0], s.beta[-1]], [1e-4, 0.02])
    # KL(q(xT|x0) | N(0, I)) is about 1e-5 bits a dimension in Ho et al. 2020, section 4
    np.testing.assert_allclose(s.alpha_bar[-1], 4.0358e-5, rtol=1e-4)


def test_cosine_follows_its_formula_until_beta_is_cut_off():
    s = make_schedule("cosine")
    t = np.arange(1, 1000) / 1000
    f = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(s.alpha_bar[:-1], f, rtol=1e-9)
    assert s.beta[-1] == 0.999


@pytest.mark.parametrize("name", SCHEDULES)
def test_zero_terminal_snr_is_zero_and_keeps_the_clean_end(name):
    plain, rescaled = make_schedule(name), make_schedule(name, zero_terminal_snr=True)
    assert rescaled.zero_terminal_snr
    assert not plain.zero_terminal_snr
    assert rescaled.alpha_bar[-1] == 0
    assert rescaled.sigma[-1] == 1
    assert rescaled.log_snr[-1] == -np.inf
    np.testing.assert_allclose(rescaled.alpha[0], plain.alpha[0], rtol=1e-12)


def test_tables_are_looked_up_in_the_dtype_of_the_images():
    s = make_schedule("linear", 10)
    values = at(s.alpha, jnp.array([0, 9]), jnp.zeros((2, 3, 3, 1)))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values.ravel(), s.alpha[[0, 9]], rtol=1e-7)


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        ({"name": "cosin"}, "schedule"),
        ({"name": "linear", "timesteps": 0}, "timesteps"),
        ({"name": "linear", "beta_start": 0.0}, "beta_start"),
        ({"name": "linear", "beta_start": 0.03}, "beta_end"),
        ({"name": "linear", "beta_end": 1.0}, "beta_end"),
        ({"name": "linear", "timesteps": 1, "zero_terminal_snr": True}, "zero_terminal_snr"),
    ],
)
def test_refusals(request_, where):
    with pytest.raises(UserError) as refusal:
        make_schedule(**request_)
    assert refusal.value.where == where


def test_a_chain_that_ends_with_the_image_visible_is_said():
    warning = still_visible(make_schedule("linear", 100))
    assert "100 time steps" in warning
    assert f"{np.prod(1 - np.linspace(1e-4, 0.02, 100)):.1%}" in warning
    assert "beta_end" in warning


@pytest.mark.parametrize(
    "schedule",
    [
        make_schedule("linear"),
        make_schedule("cosine", 100),
        make_schedule("linear", 100, zero_terminal_snr=True),
    ],
)
def test_a_chain_that_ends_in_noise_needs_no_word(schedule):
    assert still_visible(schedule) == ""
