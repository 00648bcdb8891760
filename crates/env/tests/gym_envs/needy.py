"""A module of environments that imports a package which does not exist."""

import no_such_dep.of_any_kind  # noqa: F401
