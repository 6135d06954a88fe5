"""Unpack archives, and files that hold many images, in a competition folder (``kit init``).

`packed.py` has the registry, `beside.py` decides where content goes and writes it whole or not at all; the
other modules have one function per kind of packed file.
"""

from kit.competition.unpack import archives as archives
from kit.competition.unpack import arrays as arrays
from kit.competition.unpack import tables as tables
from kit.competition.unpack.beside import Unpacking, unpack_beside
from kit.competition.unpack.packed import Packed, register_unpacker, unpackers

__all__ = ["Packed", "Unpacking", "register_unpacker", "unpack_beside", "unpackers"]
