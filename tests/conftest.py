"""Shapes and types in signatures are checked in every test; property tests try the same examples every time."""

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("towers", "beartype.beartype").__enter__()

settings.register_profile("towers", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("towers")
