"""Writes the Cython declarations of ordinary annotated Python, and refuses what would differ when it is compiled.

`declare` is the public function. Nothing here imports Cython or the modules that it reads.
"""

from quantd.engine_build.declarations.declare import Declared, declare
from quantd.engine_build.declarations.refusal import Refusal

__all__ = ["Declared", "Refusal", "declare"]
