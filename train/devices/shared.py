"""The compiled steps that all runs of a process share. JAX is imported once they are asked for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.devices.parallel import Method
    from train.devices.programs import Programs


def programs(devices: int | None = None, method: Method | None = None) -> Programs:
    """Compiled steps, which all runs of this process on the same devices share.

    Args:
      devices: how many; all if it is not said.
      method: as `Parallel` takes it.
    """
    import jax

    return _programs(devices or jax.local_device_count(), method)


@functools.cache
def _programs(devices: int, method: Method | None) -> Programs:
    from train.devices.programs import Programs

    return Programs(devices, method)
