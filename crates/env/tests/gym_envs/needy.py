"""Environments in a module that imports something which nobody has."""

import no_such_dep.of_any_kind  # noqa: F401
