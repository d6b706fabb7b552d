"""Commands of the first hour: a configuration of one's own symbols, a policy that is watched, notebooks."""
