import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from microgen_jax.diffusion import require_loss
from microgen_jax.diffusion.losses import LOSSES, LossParts, diffusion_loss
from microgen_jax.diffusion.schedules import make_schedule
from microgen_jax.diffusion.times import importance, sample_times, update_square_losses
from microgen_jax.errors import UserError
from tests.diffusion.gaussians import NO_CONDITION

SCHEDULE = make_schedule("linear", 100)
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (16, 2, 3, 1)), jnp.float32)


def nothing(xt, t, cond):
    return jnp.zeros_like(xt)


def loss_of(x0, denoise=nothing, **settings):
    settings = {"prediction": "eps", **settings}
    return diffusion_loss(denoise, SCHEDULE, x0, NO_CONDITION, jax.random.key(3), **settings)


def times_of(time_sampling, count, probabilities=None, seed=0):
    key, rows = jax.random.key(seed), jnp.arange(count)
    row_keys = jax.random.split(key, count)
    return sample_times(time_sampling, key, row_keys, rows, count, 100, probabilities)


def test_the_best_answer_costs_nothing():
    def knows(xt, t, cond):
        alpha = jnp.asarray(SCHEDULE.alpha, jnp.float32)[t][:, None, None, None]
        sigma = jnp.asarray(SCHEDULE.sigma, jnp.float32)[t][:, None, None, None]
        return (xt - alpha * IMAGES) / sigma

    assert loss_of(IMAGES, knows)[0] < 1e-8
    np.testing.assert_allclose(loss_of(IMAGES)[0], 1.0, atol=0.3)  # E[eps^2]


@pytest.mark.parametrize(
    ("name", "prediction", "target", "value"),
    [
        ("mse", 0.5, -1.5, 4.0),
        ("l1", 0.5, -1.5, 2.0),
        ("huber", 0.5, -1.5, 1.5),
        ("huber", 0.5, 0.0, 0.125),
        ("bce", 0.0, 1.0, np.log(2)),
        ("bce", 2.0, -1.0, np.log1p(np.exp(2.0))),
        ("bce", -80.0, -1.0, 0.0),
    ],
)
def test_known_errors(name, prediction, target, value):
    np.testing.assert_allclose(LOSSES[name](jnp.float32(prediction), jnp.float32(target)), value, atol=1e-6)


@pytest.mark.parametrize("time_sampling", ["uniform", "stratified", "fixed"])
def test_a_micro_batch_draws_what_the_whole_batch_draws(time_sampling):
    _, whole = loss_of(IMAGES, time_sampling=time_sampling)
    _, part = loss_of(IMAGES[5:9], time_sampling=time_sampling, rows=jnp.arange(5, 9), total=16)
    np.testing.assert_array_equal(part.t, whole.t[5:9])
    np.testing.assert_allclose(part.per_example, whole.per_example[5:9], rtol=1e-6)


def test_eight_devices_draw_what_one_draws():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(IMAGES, NamedSharding(mesh, PartitionSpec("data")))
    losses = jax.jit(lambda x0: loss_of(x0)[1])
    one, eight = losses(IMAGES), losses(spread)
    np.testing.assert_array_equal(eight.t, one.t)
    np.testing.assert_allclose(eight.per_example, one.per_example, rtol=1e-6)


def test_every_example_has_noise_of_its_own():
    same = jnp.tile(IMAGES[:1], (16, 1, 1, 1))
    _, parts = loss_of(same, time_sampling="fixed")
    assert len(np.unique(parts.per_example)) == 16


def test_uniform_times_cover_the_chain():
    counts = np.bincount(times_of("uniform", 20_000), minlength=100)
    assert counts.size == 100
    assert abs(counts - 200).max() < 5.5 * np.sqrt(200)


def test_stratified_times_take_one_from_every_stratum():
    t = np.sort(times_of("stratified", 20))
    assert np.all(np.diff(t) == 5)
    assert not np.array_equal(np.sort(times_of("stratified", 20, seed=1)), t)


def test_fixed_times_depend_on_the_row_alone_and_spread_evenly():
    t = np.asarray(times_of("fixed", 1000, seed=1))
    np.testing.assert_array_equal(t, times_of("fixed", 1000, seed=2))
    counts = np.bincount(t, minlength=100)
    assert counts.min() >= 8
    assert counts.max() <= 12


def test_importance_sampling_leaves_the_mean_loss_as_it_is():
    loss_at = jnp.linspace(0.1, 3.0, 100) ** 2
    table = update_square_losses(jnp.zeros(100), LossParts(loss_at, jnp.arange(100)).squares(100))
    np.testing.assert_allclose(table, loss_at**2, rtol=1e-6)
    np.testing.assert_allclose(importance(table, 0.0), loss_at / loss_at.sum(), rtol=1e-5)
    p = importance(table)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    t = times_of("importance", 50_000, p)
    np.testing.assert_allclose(np.bincount(t, minlength=100) / 50_000, p, atol=1e-3)
    np.testing.assert_allclose(jnp.mean(loss_at[t] / (100 * p[t])), loss_at.mean(), rtol=0.01)


def test_importance_is_uniform_until_all_times_were_seen():
    table = update_square_losses(
        jnp.zeros(4), LossParts(jnp.array([1.0, 3.0, 2.0]), jnp.array([0, 0, 2])).squares(4)
    )
    np.testing.assert_allclose(table, [5.0, 0.0, 4.0, 0.0])
    np.testing.assert_allclose(importance(table), 0.25)
    table = update_square_losses(table, LossParts(jnp.array([1.0]), jnp.array([0])).squares(4), decay=0.5)
    np.testing.assert_allclose(table, [3.0, 0.0, 4.0, 0.0])


def test_refusals():
    with pytest.raises(UserError, match=r"^loss: "):
        require_loss(SCHEDULE, "eps", loss="mae")
    with pytest.raises(UserError, match=r"^loss: "):
        require_loss(SCHEDULE, "v", loss="bce")
    with pytest.raises(UserError, match=r"^weighting: "):
        require_loss(SCHEDULE, "v", weighting="snr")
    with pytest.raises(UserError, match=r"^time_sampling: "):
        times_of("logit", 4)
    with pytest.raises(UserError, match=r"^probabilities: "):
        times_of("importance", 4)
