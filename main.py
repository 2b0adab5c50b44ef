"""Train a generator on your microstructures, sample new ones, and judge them: the command `microgen`, from a checkout.

    python main.py --config=configs/quickstart.py --workdir=runs/quickstart

`python main.py --help` says more.
"""

from microgen_jax.__main__ import main

if __name__ == "__main__":
    main()
