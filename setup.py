"""The part of the build that pyproject.toml cannot express: a wheel has the compiled engine.

An editable installation has none. QUANTD_PURE_WHEEL=1 requests a wheel without it.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = Path(__file__).resolve().parent
PURE = os.environ.get("QUANTD_PURE_WHEEL") == "1"


def engine() -> Path:
    """The folder with the compiled engine. Leaves with a line that names the remedy where there is none."""
    sys.path.insert(0, str(HERE / "src"))
    from quantd.engine_build.builder import build
    from quantd.engine_build.c_compiler import NoBuild

    try:
        return build(jobs=os.cpu_count() or 1)
    except NoBuild as why:
        sys.exit(f"quantd: the engine is not compiled: {why}; a wheel without it: make wheel-pure")


class WithEngine(build_py):
    """Copies the modules, then the compiled engine."""

    def run(self) -> None:
        made = None if PURE or self.editable_mode else engine()
        super().run()
        if made is not None:
            shutil.copytree(made, Path(self.build_lib) / "quantd" / "engine_build" / "built" / made.name)


class OfPlatform(Distribution):
    """A wheel with the compiled engine is of one platform and one Python."""

    def has_ext_modules(self) -> bool:
        return not PURE


setup(cmdclass={"build_py": WithEngine}, distclass=OfPlatform)
