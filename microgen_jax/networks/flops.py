"""Operations of a traced program: those of its products and convolutions, a multiply-add counting two.

    product      2 B M N K                    (batch, rows, columns, contracted)
    convolution  2 |output| |kernel window| C / |input dilation|

Element-wise work is not counted (a few per cent of a UNet). The modules of a network name the parts of its program.
"""

import math
from collections import Counter

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


def flops(program: ClosedJaxpr | Jaxpr) -> Counter[str]:
    """Return the operations by the scope that they stand in, as in 'UNet/mid_block/resnets_0/conv1'.

    Loops are counted as often as they run, and of the branches of a condition the dearest.

    Args:
      program: traced program; its total is `flops(program).total()`.
    """
    inner = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    found: Counter[str] = Counter()
    for equation in inner.eqns:
        outer = str(equation.source_info.name_stack)
        for scope, count in _of_equation(equation).items():
            found["/".join(filter(None, (outer, scope)))] += count
    return found


def _of_equation(equation: JaxprEqn) -> Counter[str]:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return Counter({"": _product(equation)})
    if name == "conv_general_dilated":
        return Counter({"": _convolution(equation)})
    values = [x for value in params.values() for x in (value if isinstance(value, tuple | list) else [value])]
    counts = [flops(value) for value in values if isinstance(value, ClosedJaxpr | Jaxpr)]
    if name == "cond":
        return max(counts, key=Counter.total)
    times = params["length"] if name == "scan" else 1
    return Counter({scope: times * n for scope, n in sum(counts, Counter()).items()})


def _product(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: JaxprEqn) -> int:
    kernel, places = equation.invars[1].aval.shape, equation.params["dimension_numbers"].rhs_spec
    window = math.prod(kernel[axis] for axis in places[1:])
    dilation = math.prod(equation.params["lhs_dilation"])
    return 2 * math.prod(equation.outvars[0].aval.shape) * window // dilation
