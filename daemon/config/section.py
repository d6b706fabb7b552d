"""What every table of the configuration has in common: strict, frozen, no key that is not known."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table. Keys of the file are the fields' aliases where a field carries its unit in its name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
