"""Policies of any learner as artifacts: written after training, checked, traded, made smaller, signed, combined. Trading needs no torch."""
