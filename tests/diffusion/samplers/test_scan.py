import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from microgen_jax.diffusion import guide, make_schedule, require_sampling, sample
from microgen_jax.diffusion.samplers.scan import MOST_NOISE, kept_levels
from microgen_jax.diffusion.samplers.steps import SAMPLERS
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
    settings = {"shape": SHAPE, "prediction": "x0", "null_label": 0, "steps": 8, **settings}
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


def test_stills_are_those_nearest_to_the_times_asked_for():
    keys = keys_of(0, 2)
    _, frames = draw(keys, steps=10, trajectory=11)  # at 99, 89, ..., 9 and the image
    _, stills = draw(keys, steps=10, trajectory=(99, 60, 60, 3, 0))
    np.testing.assert_array_equal(stills, frames[np.array([0, 4, 4, 10, 10])])
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
    assert schedule.sigma[-1] / schedule.alpha[-1] < MOST_NOISE

    def true(xt, t, cond):
        alpha, sigma = alpha_sigma(schedule, t)
        return (xt - alpha * gaussian_x0(xt, alpha, sigma, 0.2, 0.3)) / sigma

    def drawn(denoise, scale):
        settings = {"shape": SHAPE, "prediction": "eps", "null_label": 0, "steps": 8, "clip": False}
        cond = conditions(2)
        return sample(denoise, schedule, keys_of(0, 2), cond, sampler=sampler, eps_scale=scale, **settings)

    exact, mended = drawn(true, 1.0), drawn(lambda *asked: true(*asked) / 1.1, 1.1)
    np.testing.assert_allclose(mended, exact, atol=2e-4)
    assert np.abs(drawn(lambda *asked: true(*asked) / 1.1, 1.0) - exact).max() > 0.01


def test_eps_scale_is_bounded_where_no_image_is_left():
    schedule = make_schedule("cosine", 100)
    images = sample(
        lambda xt, t, cond: jnp.zeros_like(xt), schedule, keys_of(0, 2), conditions(2), shape=SHAPE,
        prediction="v", null_label=0, steps=8, clip=False, eps_scale=1.05, sampler="dpmpp2m",
    )  # fmt: skip
    assert np.abs(images).max() < 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "ddpm"}, "unknown sampler 'ddpm'; known: ancestral, .*Did you mean"),
        ({"steps": 101}, r"steps \(=101\) must lie in 1..100"),
        ({"steps": 0}, r"steps \(=0\)"),
        ({"eta": -0.1}, r"eta \(=-0.1\)"),
        ({"sampler": "heun", "eta": 1.0}, "for sampler 'ddim' only"),
        ({"spacing": "quadratic"}, "unknown spacing 'quadratic'"),
        ({"clip_percentile": 101.0}, r"clip_percentile \(=101.0\)"),
        ({"clip_percentile": 0.995}, r"clip_percentile \(=0.995\)"),
        ({"guidance": -1.0}, r"guidance \(=-1.0\)"),
        ({"guidance": float("nan")}, r"guidance \(=nan\)"),
        ({"guidance_interval": (2.0, 1.0)}, "guidance_interval"),
        ({"guidance_rescale": 1.5}, "guidance_rescale"),
        ({"eps_scale": 0.0}, r"eps_scale \(=0.0\)"),
        ({"eps_scale": float("nan")}, r"eps_scale \(=nan\)"),
        ({"trajectory": 52}, r"trajectory \(=52\) must lie in 0..51"),
        ({"trajectory": (99, 100)}, r"time \(=100\) must lie in 0..99"),
    ],
)
def test_refusals(settings, message):
    require_sampling(SCHEDULE, "v")
    with pytest.raises(UserError, match=message):
        require_sampling(SCHEDULE, "v", **settings)
