"""--mode=export: a trained run as a folder that others load, at `export/<format>/`."""

from microgen_jax import files
from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request, for_run
from microgen_jax.errors import UserError, argument_of, require_known
from microgen_jax.export import TrainedModel, diffusers, stablehlo
from microgen_jax.runtime import distributed
from microgen_jax.sampling import open_run

FORMATS = {"diffusers": diffusers.write_folder, "stablehlo": stablehlo.write_folder}


def export(request: Request) -> None:
    """Write the averaged weights of `sample.checkpoint` in the format `export.format`.

    Raises:
      UserError: no run, an unknown format, or a model that the format cannot hold.
    """
    workdir, wanted = request.workdir, request.config.export.format
    if workdir is None:
        raise UserError(
            "--workdir", "is missing", "name the folder of a trained run, as in --workdir=runs/mine"
        )
    require_known("export.format", wanted, FORMATS)
    run = run_config.read(workdir)
    config = for_run(request, run.config)
    if config.method != "ddpm":
        problem = f"export writes diffusion models, and this run's method is {config.method}"
        raise UserError("--mode", problem, "generate images with --mode=sample")
    if run.resolved.phases:
        raise UserError(
            "--mode",
            "export writes models of one stage, and this run's makes orientations in two",
            "write its maps with --mode=sample --config.sample.formats=\"('ctf',)\"",
        )
    if config.sample.autoguidance:
        raise UserError(
            "sample.autoguidance", "needs two sets of weights, and an export holds one", "leave it empty"
        )
    files.check_writable(workdir)
    generator = open_run(config, run.resolved, workdir)
    evaluation = workdir / "evaluation" / "metrics.json"
    metrics = files.read_json(evaluation)["metrics"] if evaluation.is_file() else {}
    model = TrainedModel(config, run.resolved, generator.method, generator.params, generator.step, metrics)
    if not distributed.is_process_0():
        return
    folder = workdir / "export" / wanted
    with argument_of("export"):
        files.write_folder(folder, lambda fresh: FORMATS[wanted](fresh, model))
    print(f"written: {folder}")
