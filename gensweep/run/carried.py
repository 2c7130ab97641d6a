"""Values that go to other processes together with the plug-ins that they mean something with."""

from __future__ import annotations

from typing import Generic, TypeVar

import ray.cloudpickle

from gensweep import plugins

T = TypeVar("T")


class Carried(Generic[T]):
    """A value, such as a function and its configuration, for a process that may lack the plug-ins of this one."""

    def __init__(self, value: T) -> None:
        self._plugins = plugins.loaded()
        # Apart, because trials are made of their configuration as they are unpickled.
        self._pickled: bytes = ray.cloudpickle.dumps(value)  # type: ignore[no-untyped-call]

    def open(self) -> T:
        """The value; the plug-ins are there from then on.  Raises ConfigError if one cannot be imported here."""
        for plugin in self._plugins:
            plugin.install()
        value: T = ray.cloudpickle.loads(self._pickled)
        return value
