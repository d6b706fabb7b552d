"""The reasons to doubt a result, by weight: one fixed list, against which every result is checked."""

from quantd.research.doubts.doubt import Doubt, doubt_lines, joined, lead, named_doubts
from quantd.research.doubts.doubt_list import KINDS, doubts_of
from quantd.research.doubts.evidence import Evidence

__all__ = ["KINDS", "Doubt", "Evidence", "doubt_lines", "doubts_of", "joined", "lead", "named_doubts"]
