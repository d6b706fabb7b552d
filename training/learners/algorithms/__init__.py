"""The algorithms of the learners, in torch. The records of the learners load them."""
