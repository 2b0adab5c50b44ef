"""The levels of the Wasserstein GAN: shapes at every size, their published widths, classes, cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.errors import UserError
from microgen_jax.networks import cpu_kernels, wgan
from microgen_jax.networks.wgan import Critic, WGANGenerator

KEY, LABEL = jax.random.key(0), jnp.zeros(1, jnp.int32)


def shapes(size, channels=1, num_classes=0, width=64, dtype=jnp.float32):
    generator = WGANGenerator(size, channels, width, num_classes, dtype)
    critic = Critic(width, num_classes, dtype)
    image = jnp.zeros((1, *size, channels))
    made = jax.eval_shape(generator.init, KEY, jnp.zeros((1, 100)), LABEL)["params"]
    judged = jax.eval_shape(critic.init, KEY, image, LABEL)["params"]
    generated = jax.eval_shape(lambda p: generator.apply({"params": p}, jnp.zeros((1, 100)), LABEL), made)
    score = jax.eval_shape(lambda p: critic.apply({"params": p}, image, LABEL), judged)
    return made, judged, generated, score


def test_the_64_px_levels_are_the_published_ones():
    made, judged, _, _ = shapes((64, 64))
    assert made["dense"]["kernel"].shape == (100, 4 * 4 * 512)
    ups = [made[name]["kernel"].shape for name in ("up_0", "up_1", "up_2", "out")]
    assert ups == [(3, 3, 512, 256), (3, 3, 256, 128), (3, 3, 128, 64), (3, 3, 64, 1)]
    downs = [judged[f"down_{i}"]["kernel"].shape for i in range(4)]
    assert downs == [(4, 4, 1, 64), (4, 4, 64, 128), (4, 4, 128, 256), (4, 4, 256, 512)]
    assert judged["score"]["kernel"].shape == (4 * 4 * 512, 1)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (128, 128), (256, 256), (32, 64)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_every_size_has_float32_images_and_scores(size, dtype):
    made, judged, generated, score = shapes(size, channels=3, num_classes=4, dtype=dtype)
    assert (generated.shape, generated.dtype) == ((1, *size, 3), jnp.float32)
    assert (score.shape, score.dtype) == ((1,), jnp.float32)
    assert {x.dtype for x in jax.tree.leaves((made, judged))} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    ("size", "channels", "where"),
    [
        ((48, 64), 1, "size"),
        ((16, 16), 1, "size"),
        ((512, 64), 3, "size"),
        ((64, 64), 2, "channels"),
    ],
)
def test_other_images_are_refused(size, channels, where):
    with pytest.raises(UserError) as error:
        wgan.check_shape(size, channels)
    assert error.value.where == where


def test_the_nearest_size_is_named():
    with pytest.raises(UserError, match=r"take \(32,64\)"):
        wgan.check_shape((48, 64), 1)


def test_initialisation_is_normal_with_002():
    params = jax.jit(Critic(16).init)(KEY, jnp.zeros((1, 32, 32, 1)), LABEL)["params"]
    kernels = np.concatenate([params[f"down_{i}"]["kernel"].ravel() for i in range(3)])
    assert abs(kernels.std() / 0.02 - 1) < 0.02
    assert all(not np.any(params[f"down_{i}"]["bias"]) for i in range(3))


def test_classes_change_both_and_no_class_is_the_zero_embedding():
    generator, critic = WGANGenerator((32, 32), 1, 4, 2), Critic(4, 2)
    z, image = jax.random.normal(KEY, (3, 8)), jax.random.normal(KEY, (3, 32, 32, 1))
    labels = jnp.arange(3, dtype=jnp.int32)  # 2 stands for "no class"
    made, judged = jax.jit(generator.init)(KEY, z, labels), jax.jit(critic.init)(KEY, image, labels)
    same = jnp.broadcast_to(z[:1], z.shape), jnp.broadcast_to(image[:1], image.shape)
    generated, scores = generator.apply(made, same[0], labels), critic.apply(judged, same[1], labels)
    assert len({row.tobytes() for row in np.asarray(generated)}) == 3
    assert len(set(np.asarray(scores).tolist())) == 3
    without = jax.tree.map(jnp.zeros_like, judged["params"]["class_projection"])
    plain = critic.apply({"params": judged["params"] | {"class_projection": without}}, same[1], labels)
    np.testing.assert_allclose(plain, jnp.broadcast_to(scores[2], (3,)), rtol=1e-6)


def test_the_summary_counts_every_parameter_and_operation():
    generator, critic = WGANGenerator((64, 64), 1, 64, 3), Critic(64, 3)
    made, judged, _, _ = shapes((64, 64), num_classes=3)
    rows = wgan.summary(generator, critic, 100)
    assert sum(row.params for row in rows) == sum(x.size for x in jax.tree.leaves((made, judged)))
    by_name = {row.name: row for row in rows}
    assert by_name["generator up_1"].flops == 2 * 9 * 256 * 128 * 16 * 16
    assert by_name["critic down_2"].flops == 2 * 16 * 128 * 256 * 8 * 8


def test_halving_by_a_product_is_the_convolution_in_both_derivatives():
    keys = jax.random.split(KEY, 2)
    x, kernel = jax.random.normal(keys[0], (2, 6, 8, 3)), jax.random.normal(keys[1], (4, 4, 3, 5))

    def twice(form):
        def steep(x, kernel):
            return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(form(x, kernel))))(x) ** 2)

        return form(x, kernel), *jax.jit(jax.grad(steep, (0, 1)))(x, kernel)

    for plain, fast in zip(twice(wgan.halve), twice(cpu_kernels.halve_by_product)):
        assert jnp.abs(fast - plain).max() <= 2e-5 * jnp.abs(plain).max()
