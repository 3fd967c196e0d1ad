"""Shapes and types in signatures are checked in every test."""

from jaxtyping import install_import_hook

install_import_hook("towers", "beartype.beartype").__enter__()
