import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from microgen_jax.config.schema import SampleConfig
from microgen_jax.diffusion import Sampling, guide, make_schedule, sample
from microgen_jax.diffusion.samplers import SAMPLERS
from microgen_jax.diffusion.samplers.generate import EPS_SCALE_MAX_RATIO
from microgen_jax.diffusion.samplers.scan import kept_levels
from microgen_jax.diffusion.spacing import make_levels
from microgen_jax.diffusion.thresholding import dynamic
from microgen_jax.errors import UserError
from microgen_jax.types import Condition
from tests.diffusion.gaussians import alpha_sigma, ancestral_moments, gaussian_x0, small

SCHEDULE = make_schedule("linear", 100, 1e-3, 0.2)
SHAPE = (4, 6, 2)


def conditions(count):
    return Condition(jnp.zeros(count, jnp.int32), jnp.zeros((count, 1)))


def keys_of(seed, count):
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), jnp.arange(count))


def gaussian(xt, t, cond):
    alpha, sigma = alpha_sigma(SCHEDULE, t)
    return gaussian_x0(xt, alpha, sigma, 0.2, 0.3)


def network(xt, t, cond):
    """Mixes channels and neighbours, as a convolution does."""
    kernel = jax.random.normal(jax.random.key(7), (3, 3, xt.shape[-1], xt.shape[-1])) / 4
    mixed = jax.lax.conv_general_dilated(
        xt, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.tanh(mixed + t.astype(jnp.float32)[:, None, None, None] / 100)


def draw(keys, denoise=network, **settings):
    sampling = {name: settings.pop(name) for name in Sampling.names() if name in settings}
    settings = {"shape": SHAPE, "prediction": "x0", "null_label": 0, **settings}
    settings["sampling"] = Sampling(**{"steps": 8, **sampling})
    if "progress" in settings:  # a Python loop over compiled pieces
        return sample(denoise, SCHEDULE, keys, conditions(keys.shape[0]), **settings)
    return jax.jit(lambda keys: sample(denoise, SCHEDULE, keys, conditions(keys.shape[0]), **settings))(keys)


def draw_many(count, batch, **settings):
    """As the sample command does: full batches of one shape, the last one padded with keys that are thrown away."""
    batches = [keys_of(0, start + batch)[start:] for start in range(0, count, batch)]
    return np.concatenate([draw(keys, **settings) for keys in batches])[:count]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_seed_gives_the_same_bytes_however_many_are_asked_for(sampler):
    one, three, sixteen = (draw_many(count, 4, sampler=sampler) for count in (1, 3, 16))
    assert one.tobytes() == sixteen[:1].tobytes()
    assert three.tobytes() == sixteen[:3].tobytes()
    assert len({image.tobytes() for image in sixteen}) == 16
    assert sixteen.dtype == np.float32


def test_a_image_is_its_key_s_whichever_row_it_falls_in():
    keys = keys_of(3, 4)
    order = jnp.array([2, 0, 3, 1])
    originals = np.asarray(draw(keys, sampler="ancestral"))
    np.testing.assert_array_equal(draw(keys[order], sampler="ancestral"), originals[np.asarray(order)])


def test_eight_devices_draw_what_one_draws():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    keys = keys_of(0, 8)
    spread = jax.device_put(keys, NamedSharding(mesh, PartitionSpec("data")))
    one, eight = (draw(k, sampler="ancestral", guidance=2.0) for k in (keys, spread))
    assert len(eight.sharding.device_set) == 8
    np.testing.assert_allclose(eight, one, atol=1e-5)


def test_guidance_is_the_wrapper_s():
    def told(xt, t, cond):
        return network(xt, t, cond) + jnp.where(cond.label == 5, 0.0, 0.3)[:, None, None, None]

    settings = {"scale": 3.0, "interval": (0.1, 5.0), "rescale": 0.5}
    asked = {f"guidance_{name}".removesuffix("_scale"): value for name, value in settings.items()}
    guided = draw(keys_of(0, 2), told, null_label=5, **asked)
    np.testing.assert_array_equal(guided, draw(keys_of(0, 2), guide(told, SCHEDULE, 5, **settings)))
    assert np.abs(guided - draw(keys_of(0, 2), told, null_label=5)).max() > 0.01


def test_noise_is_standard_normal_and_new_at_every_step():
    originals = draw(keys_of(0, 64), gaussian, sampler="ancestral", steps=100, clip=False, shape=(16, 16, 1))
    count = originals.size
    means, variances = ancestral_moments(SCHEDULE, np.arange(100)[::-1], 0.2, 0.3, small)
    std = variances[-1] ** 0.5
    np.testing.assert_allclose(originals.mean(), means[-1], atol=5 * std / count**0.5)
    np.testing.assert_allclose(originals.std(), std, rtol=5 / (2 * count) ** 0.5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_clipped_x0_stays_in_range_and_the_image_with_it(sampler):
    settings = {"sampler": sampler, "denoise": lambda xt, t, cond: 3 * network(xt, t, cond)}
    assert jnp.abs(draw(keys_of(0, 2), **settings)).max() <= 1 + 1e-6
    assert jnp.abs(draw(keys_of(0, 2), clip=False, **settings)).max() > 1.5


def test_eps_is_recomputed_from_the_clipped_x0():
    """With x0 clipped to 1 everywhere, one DDIM step to s is alpha_s + sigma_s (xt - alpha) / sigma."""
    settings = {"sampler": "ddim", "steps": 2, "trajectory": 3}
    _, (xt, xs, x0) = draw(keys_of(0, 2), lambda xt, t, cond: jnp.full_like(xt, 5.0), **settings)
    (a, b), (c, d) = SCHEDULE.alpha[[99, 49]], SCHEDULE.sigma[[99, 49]]
    np.testing.assert_allclose(xs, b + d * (xt - a) / c, atol=1e-5)
    np.testing.assert_allclose(x0, 1, atol=1e-6)


def test_dynamic_thresholding_divides_by_the_percentile_of_each_image():
    x0 = jnp.stack([jnp.linspace(-0.5, 0.5, 101), jnp.linspace(0, 4, 101)]).reshape(2, 101, 1, 1)
    calm, wild = dynamic(x0, 50.0)
    np.testing.assert_allclose(calm, x0[0])
    np.testing.assert_allclose(wild, jnp.minimum(x0[1] / 2, 1), atol=1e-6)


def test_trajectory_runs_from_noise_to_the_image():
    keys = keys_of(0, 2)
    x0, frames = draw(keys, steps=9, trajectory=10)
    np.testing.assert_array_equal(frames[-1], x0)
    np.testing.assert_array_equal(draw(keys, steps=9), x0)
    noise = jax.random.normal(jax.random.fold_in(keys[0], 0), SHAPE)
    np.testing.assert_array_equal(frames[0, 0], noise)
    _, some = draw(keys, steps=9, trajectory=4)
    levels = make_levels(SCHEDULE, 9, "trailing")
    np.testing.assert_array_equal(kept_levels(levels, 4), [0, 3, 6, 9])
    np.testing.assert_array_equal(some, frames[np.array([0, 3, 6, 9])])
    np.testing.assert_array_equal(draw(keys, steps=9, trajectory=1)[1], x0[None])


def test_frames_kept_are_those_nearest_to_the_times_asked_for():
    keys = keys_of(0, 2)
    _, frames = draw(keys, steps=10, trajectory=11)  # at 99, 89, ..., 9 and the image
    _, kept = draw(keys, steps=10, trajectory=(99, 60, 60, 3, 0))
    np.testing.assert_array_equal(kept, frames[np.array([0, 4, 4, 10, 10])])
    assert kept_levels(make_levels(SCHEDULE, 100, "linspace"), (99, 1, 0)).tolist() == [0, 98, 100]


def test_karras_levels_tell_the_network_fractional_times_and_others_whole_ones():
    kinds = set()

    def look(xt, t, cond):
        kinds.add(t.dtype)
        return xt

    draw(keys_of(0, 1), look, sampler="ddim")
    assert kinds == {jnp.dtype("int32")}
    draw(keys_of(0, 1), look, sampler="euler")
    assert kinds == {jnp.dtype("int32"), jnp.dtype("float32")}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_eps_scale_mends_a_network_that_calls_too_little_noise(sampler):
    schedule = make_schedule("linear", 100, 1e-3, 0.05)
    assert schedule.sigma[-1] / schedule.alpha[-1] < EPS_SCALE_MAX_RATIO

    def true(xt, t, cond):
        alpha, sigma = alpha_sigma(schedule, t)
        return (xt - alpha * gaussian_x0(xt, alpha, sigma, 0.2, 0.3)) / sigma

    def drawn(denoise, scale):
        sampling = Sampling(sampler, steps=8, clip=False, eps_scale=scale)
        settings = {"shape": SHAPE, "prediction": "eps", "null_label": 0, "sampling": sampling}
        return sample(denoise, schedule, keys_of(0, 2), conditions(2), **settings)

    exact, mended = drawn(true, 1.0), drawn(lambda *asked: true(*asked) / 1.1, 1.1)
    np.testing.assert_allclose(mended, exact, atol=2e-4)
    assert np.abs(drawn(lambda *asked: true(*asked) / 1.1, 1.0) - exact).max() > 0.01


def test_eps_scale_is_bounded_where_no_image_is_left():
    schedule = make_schedule("cosine", 100)
    images = sample(
        lambda xt, t, cond: jnp.zeros_like(xt), schedule, keys_of(0, 2), conditions(2), shape=SHAPE,
        prediction="v", null_label=0, sampling=Sampling("dpmpp2m", steps=8, clip=False, eps_scale=1.05),
    )  # fmt: skip
    assert np.abs(images).max() < 10


STARTS = (0.4, 60)  # x0 and time


def start_images(count):
    return jnp.full((count, 16, 16, 1), STARTS[0])


def test_a_start_is_noised_to_its_time_and_follows_the_chain():
    settings = {"sampler": "ancestral", "steps": 10, "clip": False, "shape": (16, 16, 1)}
    start = {"start": start_images(64), "start_time": STARTS[1]}
    images, frames = draw(keys_of(0, 64), gaussian, **settings, **start, trajectory=(60, 0))
    alpha, sigma = SCHEDULE.alpha[60], SCHEDULE.sigma[60]
    np.testing.assert_allclose(frames[0].mean(), alpha * STARTS[0], atol=5 * sigma / frames[0].size ** 0.5)
    np.testing.assert_allclose(frames[0].std(), sigma, rtol=5 / (2 * frames[0].size) ** 0.5)
    mean, variance = ancestral_moments(
        SCHEDULE, (60, 49, 39, 29, 19, 9), 0.2, 0.3, small, start=(alpha * STARTS[0], sigma**2)
    )
    np.testing.assert_allclose(images.mean(), mean[-1], atol=5 * variance[-1] ** 0.5 / images.size**0.5)
    np.testing.assert_allclose(images.std(), variance[-1] ** 0.5, rtol=5 / (2 * images.size) ** 0.5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_known_pixels_are_exact_and_leave_independent_ones_as_they_were(sampler):
    value = jnp.linspace(-1, 1, 2 * 4 * 6 * 2).reshape(2, *SHAPE)
    mask = jnp.zeros((2, 4, 6), bool).at[:, :2].set(True)
    plain = draw(keys_of(0, 2), gaussian, sampler=sampler, clip=False)
    filled, frames = draw(
        keys_of(0, 2), gaussian, sampler=sampler, clip=False, known=(value, mask), trajectory=2
    )
    np.testing.assert_array_equal(filled[:, :2], value[:, :2])
    np.testing.assert_allclose(filled[:, 2:], plain[:, 2:], atol=1e-5)
    noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 0), SHAPE))(keys_of(0, 2))
    noisy = SCHEDULE.alpha[-1] * value + SCHEDULE.sigma[-1] * noise
    np.testing.assert_allclose(frames[0][:, :2], noisy[:, :2], atol=1e-5)
    masked = draw(keys_of(0, 2), gaussian, sampler=sampler, clip=False, known=(value, mask[..., None]))
    np.testing.assert_array_equal(masked, filled)


def test_replacement_of_a_correlated_pixel_is_the_recursion_of_its_moments():
    """Two pixels of N(0, 0.25) with correlation 0.8, the first one known to be 0.8; the chain is affine."""
    covariance = 0.25 * np.array([[1, 0.8], [0.8, 1]])

    def gain_at(alpha, sigma, xp):
        return (
            alpha
            * xp.asarray(covariance)
            @ xp.linalg.inv(alpha**2 * xp.asarray(covariance) + sigma**2 * xp.eye(2))
        )

    def denoise(xt, t, cond):
        alpha, sigma = (a[0, 0, 0, 0] for a in alpha_sigma(SCHEDULE, t))
        gain = gain_at(alpha, sigma, jnp).astype(jnp.float32)
        return jnp.einsum("ij,bhjc->bhic", gain, xt)

    mean, spread = np.array([SCHEDULE.alpha[-1] * 0.8, 0.0]), np.diag([SCHEDULE.sigma[-1] ** 2, 1.0])
    for t in range(99, -1, -1):  # Ho et al. 2020, eqs. 6 and 7, and then the known pixel's own moments
        ab, ab_s = SCHEDULE.alpha_bar[t], SCHEDULE.alpha_bar[t - 1] if t else 1.0
        beta = 1 - ab / ab_s
        step = np.sqrt(ab_s) * beta / (1 - ab) * gain_at(SCHEDULE.alpha[t], SCHEDULE.sigma[t], np)
        step = step + np.sqrt(ab / ab_s) * (1 - ab_s) / (1 - ab) * np.eye(2)
        mean, spread = step @ mean, step @ spread @ step.T + (1 - ab_s) / (1 - ab) * beta * np.eye(2)
        mean[0], spread[0], spread[:, 0] = np.sqrt(ab_s) * 0.8, 0.0, 0.0
        spread[0, 0] = 1 - ab_s

    value, mask = jnp.full((20000, 1, 2, 1), 0.8), jnp.zeros((20000, 1, 2), bool).at[:, :, 0].set(True)
    settings = {"sampler": "ancestral", "steps": 100, "clip": False, "shape": (1, 2, 1)}
    pixels = draw(keys_of(0, 20000), denoise, known=(value, mask), **settings)[:, 0, 1, 0]
    std = spread[1, 1] ** 0.5
    np.testing.assert_allclose(pixels.mean(), mean[1], atol=5 * std / 20000**0.5)
    np.testing.assert_allclose(pixels.std(), std, rtol=5 / 40000**0.5)
    assert 0.3 < mean[1] < 0.64  # E[b | a = 0.8] is 0.64: nearer than without, and not all the way


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_bits_do_not_depend_on_the_pieces(sampler):
    reports = []
    settings = {"sampler": sampler, "steps": 7}
    one, three, all_ = (
        draw(keys_of(0, 2), progress=lambda k, x0: reports.append((k, x0)), progress_every=k, **settings)
        for k in (1, 3, 7)
    )
    assert one.tobytes() == three.tobytes() == all_.tobytes()
    assert [k for k, _ in reports] == [1, 2, 3, 4, 5, 6, 7, 3, 6, 7, 7]
    assert reports[2][1].tobytes() == reports[7][1].tobytes()
    np.testing.assert_allclose(one, draw(keys_of(0, 2), **settings), atol=1e-5)


def test_progress_stops_the_sampling():
    reports = []

    def stop(k, x0):
        reports.append(x0)
        return k < 3

    images = draw(keys_of(0, 2), progress=stop)
    assert len(reports) == 3
    assert images.tobytes() == reports[-1].tobytes()


def test_no_condition_is_null_labels():
    def look(xt, t, cond):
        assert cond.value.shape == (2, 0)
        return xt * jnp.where(cond.label == 5, 0.5, 1.0)[:, None, None, None]

    settings = {"shape": SHAPE, "prediction": "x0", "null_label": 5, "sampling": Sampling(steps=3)}
    images = sample(look, SCHEDULE, keys_of(0, 2), None, **settings)
    half = sample(lambda xt, t, cond: xt * 0.5, SCHEDULE, keys_of(0, 2), conditions(2), **settings)
    np.testing.assert_array_equal(images, half)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"start": start_images(2)}, "start_time"),
        ({"start_time": 5}, "start"),
        ({"start": start_images(2), "start_time": 5}, "start"),
        ({"start": jnp.zeros((2, *SHAPE)), "start_time": 100}, "start_time"),
        ({"known": (jnp.zeros((2, *SHAPE)), jnp.zeros((2, 4, 5), bool))}, "known"),
        ({"progress": lambda k, x0: None, "trajectory": 2}, "trajectory"),
        ({"progress": lambda k, x0: None, "progress_every": 0}, "progress_every"),
    ],
)
def test_edits_that_cannot_be_are_refused(settings, where):
    with pytest.raises(UserError) as error:
        draw(keys_of(0, 2), **settings)
    assert error.value.where == where


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "ddpm"},
        {"steps": 101},
        {"steps": 0},
        {"eta": -0.1},
        {"eta": 1.0, "sampler": "heun"},
        {"spacing": "quadratic"},
        {"clip_percentile": 101.0},
        {"clip_percentile": 0.995},
        {"guidance": -1.0},
        {"guidance": float("nan")},
        {"guidance_interval": (2.0, 1.0)},
        {"guidance_rescale": 1.5},
        {"eps_scale": 0.0},
        {"eps_scale": float("nan")},
    ],
)
def test_refusals(settings):
    Sampling().check(SCHEDULE, "v")
    with pytest.raises(UserError) as error:
        Sampling(**settings).check(SCHEDULE, "v")
    assert error.value.where == next(iter(settings))


@pytest.mark.parametrize("trajectory", [52, (99, 100)])
def test_frames_that_there_are_not_are_refused(trajectory):
    with pytest.raises(UserError) as error:
        Sampling().check(SCHEDULE, "v", trajectory)
    assert error.value.where == "trajectory"


def test_settings_are_fields_of_the_configuration():
    config = SampleConfig(sampler="heun", steps=7, guidance_interval=(0.5, 2.0))
    assert Sampling.from_config(config) == Sampling("heun", 7, guidance_interval=(0.5, 2.0))
    with pytest.raises(UserError) as error:
        Sampling.from_config(SampleConfig(guidance_interval=(1.0,)))
    assert error.value.where == "guidance_interval"
