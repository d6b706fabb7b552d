"""Power studies: signals planted in a plan's market, the rule that knows them, and the results of learners."""
