"""Operations on portfolio weights, as pure functions of arrays."""
