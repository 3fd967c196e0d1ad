"""Warnings of other libraries that say nothing to a user of the command, by name."""

import logging
import os
import warnings

_WARNINGS = (
    (DeprecationWarning, r"builtin type (SwigPyPacked|SwigPyObject|swigvarlink) has no __module__ attribute"),
    (UserWarning, r"The '\w+_dataloader' does not have many workers"),
    (UserWarning, r"You are using `torch.load` with `weights_only=False`"),
    (UserWarning, r"Checkpoint directory .* exists and is not empty"),
)
_CHATTY = (
    "faiss.loader",
    "pytorch_lightning",
    "lightning.pytorch",
    "lightning_fabric",
    "lightning.fabric",
    "torch.distributed",
)


def hush() -> None:
    """Silence these warnings and notices for the rest of the process."""
    for category, message in _WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=category)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
