"""One local Ray for the tests of this folder."""

from ray_fixtures import no_leak, ray_cluster  # noqa: F401
