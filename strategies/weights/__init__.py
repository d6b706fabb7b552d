"""Operations on weights, as pure functions of arrays."""
