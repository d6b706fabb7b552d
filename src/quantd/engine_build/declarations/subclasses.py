"""Classes of Python that extend a compiled one: a private method of it is a C function, which they cannot replace."""

import ast

from quantd.engine_build.declarations.c_types import CType
from quantd.engine_build.declarations.refusal import Refusal, Refusals
from quantd.engine_build.declarations.surface import Signature, Surface, outline


def hidden_overrides(surface: Surface, file: str, text: str) -> list[Refusal]:
    """Refuse each private method of an unlisted class that would replace one of a listed class."""
    module = outline("", text)
    refusals = Refusals(file)
    for made in module.classes.values():
        for base in made.node.bases:
            found = surface.home(base.id, module) if isinstance(base, ast.Name) else None
            if found is None or found[0].name not in surface.listed or found[1] not in found[0].classes:
                continue
            kind = CType("class", found[1], home=found[0].name)
            for node in made.node.body:
                if not isinstance(node, ast.FunctionDef) or not node.name.startswith("_") or node.name[-2:] == "__":
                    continue
                if isinstance(surface.member(kind, node.name), Signature):
                    what = f"{node.name} of {made.node.name} replaces a C function of {found[1]}, which calls its own"
                    refusals.add(node, what, f"give it a public name in {found[0].file}")
    return sorted(refusals.found)
