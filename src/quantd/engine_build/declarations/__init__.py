"""Writes the Cython declarations of ordinary annotated Python, and refuses what would differ when it is compiled.

`declare` is the public function. Nothing here imports Cython or the modules that it reads.
"""

from quantd.engine_build.declarations.declare import Declared, declare
from quantd.engine_build.declarations.refusal import Refusal
from quantd.engine_build.declarations.subclasses import extending, subclass_refusals
from quantd.engine_build.declarations.surface import Surface

__all__ = ["Declared", "Refusal", "Surface", "declare", "extending", "subclass_refusals"]
