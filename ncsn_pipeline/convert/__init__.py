"""Checkpoints of the NCSN and NCSNv2 authors' code, as pipeline folders.

    checkpoint   the file: tensors and plain containers, or an error; nothing in it is run
    matching     its names, shapes, numbers and noise levels against the network's
    folder       the folder and its model card, which appear complete or not at all
    conversion   the three, one after the other

`ncsn convert` is the command.
"""

from .conversion import convert_checkpoint

__all__ = ["convert_checkpoint"]
