"""Random worlds for `compare_engines.py`: a market, rules, policies, costs and events of one run, from a seed.

The same seed gives the same world in both engines of a comparison.
"""

from .world import World, is_bare, is_tour, world_of

__all__ = ["World", "is_bare", "is_tour", "world_of"]
