"""From the targets of agents to orders that passed the gate."""
