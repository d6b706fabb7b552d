"""What can be seen in a plan's market: planted signals, the rule that knows them, and findings of learners."""
