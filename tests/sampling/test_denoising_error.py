"""The programs of the denoising error: compiled once for a model, however often it is measured."""

from rich.progress import Progress

import microgen_jax
from microgen_jax.data import open_dataset
from microgen_jax.sampling import denoising_error


def test_a_second_measurement_gives_the_same_and_compiles_nothing(trained):
    generator = microgen_jax.load(trained)
    dataset = open_dataset(generator.config.data, generator.config.seed)
    programs = denoising_error._predict_x0, denoising_error._bound

    def measure() -> tuple[dict, list[int]]:
        with Progress(disable=True) as progress:
            found = denoising_error.measure(
                generator.method, generator.params, dataset, ("psnr_x0_10", "vlb"), progress
            )
        return found, [program._cache_size() for program in programs]

    first, compiled = measure()
    assert set(first) == {"psnr_x0_10", "vlb"}
    assert min(compiled) > 0
    assert measure() == (first, compiled)
