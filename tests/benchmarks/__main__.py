"""The benchmarks by name: `python -m tests.benchmarks` lists them, `python -m tests.benchmarks NAME ...` runs one."""

import ast
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    names = [place.stem for place in sorted(FOLDER.glob("*.py")) if not place.stem.startswith("_")]
    if len(sys.argv) > 1 and sys.argv[1] in names:
        name = sys.argv.pop(1)
        runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__", alter_sys=True)
        return
    for name in names:
        summary = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text())).splitlines()[0]
        print(f"{name:20s} {summary}")
    sys.exit(2 if len(sys.argv) > 1 else 0)


if __name__ == "__main__":
    main()
