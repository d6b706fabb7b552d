"""The base of every table of the configuration: strict, frozen, without unknown keys."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table. A field with a unit in its name has the key of the file as its alias."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
