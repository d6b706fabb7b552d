"""From the targets of agents to orders that passed the gate (the check of limits)."""
