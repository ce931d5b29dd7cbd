"""The compiled steps that the runs of this process share. JAX is imported once they are asked for."""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.devices.programs import Programs


def programs(devices: int | None = None, method: Any = None) -> "Programs":
    """Return the compiled steps that all runs of this process on the same devices share.

    Args:
      devices: how many; all if it is not said.
      method: as `Parallel` takes it.
    """
    import jax

    return _programs(devices or jax.local_device_count(), method)


@functools.cache
def _programs(devices: int, method: Any) -> "Programs":
    from train.devices.programs import Programs

    return Programs(devices, method)
