"""Train a generator on your microstructures, sample new ones, and evaluate them: `microgen`, run from a checkout.

    python main.py --config=configs/quickstart.py --workdir=runs/quickstart

See `python main.py --help`.
"""

from microgen_jax.__main__ import main

if __name__ == "__main__":
    main()
