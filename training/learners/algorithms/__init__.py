"""The algorithms of the learners, in torch. A learner's record, which lists its settings, imports its algorithm on
use."""
