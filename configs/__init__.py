"""Ready-made configurations.

Installed, the package is `microgen_jax.configs`, and its files import one another as `configs` all the same.
"""

import sys

sys.modules.setdefault("configs", sys.modules[__name__])
