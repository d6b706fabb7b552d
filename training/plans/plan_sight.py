"""The sight of a plan (the input of its policy): replaces names of column sets, and finds columns that the data lack.

This module imports no torch.
"""

import msgspec

from quantd.models.observation import sight as sights
from quantd.models.observation.sight import SightSpec
from quantd.training.plans.data_plan import DataPlan, Table


def named_columns(table: Table) -> list[str]:
    """Replace each name of a set of columns by the names of its columns, in a plan's table. Returns the mistakes."""
    series = table["data"]["series"]
    sources = [source for source in series if isinstance(source, dict)] if isinstance(series, list | tuple) else []
    try:
        unused = [source.get("name", "") for source in sources if source.get("use") is False]
        table["sight"]["columns"] = sights.names_in(table["sight"]["columns"], unused)
    except ValueError as error:
        table["sight"]["columns"] = []
        return [f"sight.columns: {error}"]
    return []


def sight_faults(spec: SightSpec, data: DataPlan) -> tuple[list[str], SightSpec | None]:
    """Return the mistakes of `spec` (the input of the policy) for the data of a plan, each beginning with its key, and
    the spec without these mistakes.

    The returned spec is None where a mistake cannot be removed, such as an unknown column.
    """
    faults: list[str] = []
    while fault := _sight_fault(spec, data):
        if fault in faults:
            return faults, None
        faults.append(fault)
        if fault.startswith("sight.benchmark: "):
            needed = bool(spec.columns) and "benchmark" in spec.declared.needs
            spec = msgspec.structs.replace(spec, benchmark=data.symbols[0] if needed else "")
        elif set(spec.features) & set(spec.columns) and "is one of features" in fault:
            spec = msgspec.structs.replace(spec, features=())
        else:
            return faults, None
    return faults, spec


def _sight_fault(spec: SightSpec, data: DataPlan) -> str:
    """Return the first mistake of `spec` for the data, beginning with its key; empty for none."""
    fault = sights.fault(spec, data.symbols)
    available = {"macro": {m.name for m in data.macro}, "series": {s.name for s in data.series if s.use}}
    for key, needed in (("macro", spec.macro), ("series", spec.series)) if not fault else ():
        if missing := set(needed) - available[key]:
            entry = f'{{ name = "{min(missing)}", path = "FILE" }}'
            fault = f"columns: the series {min(missing)} is missing; write data.{key} = [{entry}]"
    return f"sight{'.' if fault.startswith(('columns: ', 'benchmark: ')) else ': '}{fault}" if fault else ""
