"""Places in the two arrays of a batch: `ints` int64 and `floats` float64, each a head followed by sections.

The entry of the head named `A_X` is where section X of `ints` begins, `F_X` where that of `floats` begins. N are
symbols, A agents, B = A + 1 watched books (the house first), R sets of limits, T rows of the market.
"""

from typing import Final

LONGEST: Final = 256
"""Most rows of a batch."""

MOST_AHEAD: Final = 64
"""Most answers that are told in advance."""

SIZE: Final = 0
AGENTS: Final = 1
ROWS: Final = 2
ROW: Final = 3
"""The next row of the market."""
FIRST: Final = 4
"""The row of the block that is row 0."""
LONE: Final = 5
"""1 where the last agent is the house."""
BORROW: Final = 9
"""1 where short positions pay a fee."""
ORDERS: Final = 10
"""Working orders."""
CROSSES: Final = 11
"""Symbols that agents exchange at the next open."""
SENT_TS: Final = 12
"""Instant of the last decision."""
PLANS: Final = 6
"""Plans that the call made."""
A_PLANS: Final = 7
"""int64[MOST_AHEAD + 1, PLAN] of them."""
BASKETS: Final = 8
"""Baskets that the call filled."""
A_BASKETS: Final = 15
"""int64[MOST_AHEAD + 2, 2]: the row at whose open a basket filled, and its orders."""
A_COPIES: Final = 16
"""int64[MOST_AHEAD + 2, .]: for each basket, the sections from `A_REASONS` up to `A_CROSSED` after its fills."""
A_CASH: Final = 17
"""int64[T]: cash of the house after each row."""
F_ROWS: Final = 18
"""float64[T, N]: lots of the house after each row."""
AHEAD: Final = 19
"""Answers told in advance."""
NEXT: Final = 37
"""The next of them."""
A_AHEAD: Final = 38
"""int64[MOST_AHEAD, 1 + A + N]: the row of the answers, 1 for each agent that answers, ends of the orders."""
F_AHEAD: Final = 40
"""float64[MOST_AHEAD, A, N] the answers."""
HASHED: Final = 47
"""1 where rows of the digest are written."""
A_REQUESTED: Final = 45
"""int64[A]: 1 where the call planned a request of an agent."""
F_REQUESTED: Final = 46
"""float64[A, N] the last of them, in lots."""
AFTER: Final = 13
"""Instant from which its orders can fill."""
USED: Final = 14
"""Bytes in the buffer."""
ASKED: Final = 20
"""1 where answers to the last row wait, 2 where they are those of an earlier decision."""
FILLED: Final = 21
"""Orders that the call filled."""
SENT: Final = 22
"""Orders that the call sent."""
REFUSED: Final = 23
CLIPPED: Final = 24
"""Rows that limits rejected and cut, of all calls."""
PLANNED: Final = 25
"""1 where the call made a plan with a request."""
A_OWN: Final = 26
"""int64[A] scratch."""
CHECKED: Final = 27
"""1 where the caller checks levels that may have changed; else their rows are left to the engine."""
LAST_TS: Final = 28
"""Close of the last row."""
SAMPLES: Final = 29
"""Place of int64[T, 2]: where the rows of the digest of a row's fills end in the buffer, and that of its equity."""
LATENCY: Final = 30
FOLLOW_UPS: Final = 31
"""1 where the rest of a decision may follow."""

A_TIMES: Final = 33
"""int64[T, 4]: open, close, tick, day."""
A_DUE: Final = 34
"""int64[T]: 1 where agents are due."""
A_MARKS: Final = 35
"""int64[2, B, MARKS], the second half scratch."""
A_EQUITY: Final = 36
"""int64[T, A + 5]: equity of the house, of each agent and of the unallocated book; high-water mark and openings of the
house."""
A_SETS: Final = 39
"""int64[B], the set of limits of each book, then int64[R, SET]."""
A_STATISTICS: Final = 41
A_ORDERS: Final = 42
"""int64[5, K] of the working orders: columns, signed lots, limit prices, ends, and commissions before the minimum."""
A_PAIRS: Final = 43
"""int64[N] numbers of agents by order, then their (agent, unsigned lots)."""
A_FILLS: Final = 44
"""Fills as `Postings.post` takes them."""
A_CROSSED: Final = 50
"""int64[A, N] lots that agents exchange, then int64[A, N] amounts."""
A_CROSS_WORST: Final = 51
"""int64[2, N] worst prices of purchases and sales."""
A_ASKED_AT: Final = 52
"""int64[A] instant of the last request, then int64[A] the window of duplicates."""
A_WANTED: Final = 55
A_SURVIVING: Final = 56
A_TOTAL: Final = 57
"""int64[N] net lots, then int64[N] those that passed."""
A_WORST: Final = 58
"""int64[2, N], the second scratch."""
A_RANK: Final = 59
"""int64[N] columns in the order of their names."""
A_NAMES: Final = 60
"""int64[N + 1] places of the names, then int64[books + 1] those of the books, then int64[books] their numbers."""
A_ANSWERED: Final = 61
"""int64[A]: 1 where an agent answered."""
A_FOLLOW: Final = 62
"""int64[A]: 1 where the rest of its decision waits for its sales."""
A_ZERO: Final = 63
A_ENDS: Final = 64
"""int64[N]: ends of the orders of a decision now."""
A_PART: Final = 65
"""int64[A]: 1 where an agent takes part in the plan."""
A_REASONS: Final = 66
"""int64[N] reasons of the basket's rows."""

A_PARTS: Final = 67
A_GIVEN: Final = 68
"""int64[A] scratch."""

SENT_SAMPLE: Final = 70
SENT_N: Final = 71
"""Sample and number of the last basket."""

F_LOT_SIZE: Final = 72
F_BOUNDS: Final = 73
"""float64[B, 3, 2]: low and high of each loss, between which neither its level nor the switch changes."""
F_BASIS: Final = 74
"""float64[B, 3]: growth, last equity and deposits since."""
F_BANDS: Final = 75
"""float64[B, 2, 2]: low and high of the realised volatility and of the Sharpe ratio, between which no level changes."""
F_PX: Final = 78
F_ANSWERS: Final = 79
F_WEIGHTS: Final = 80
"""float64[A, N] weights of the agents' positions."""
F_CHANGE: Final = 81
F_HELD: Final = 82
"""float64[B, N] lots."""
F_PASSED: Final = 83
F_AGENTS: Final = 88
"""float64[A, 4]: the bounds of the factor, least trade as a share of equity, and the age of the oldest price."""
F_PASSES: Final = 90
"""float64[A, N] lots that passed the limits of each agent."""
F_FEES: Final = 92
"""float64[B]: the fee of trades as a fraction."""
F_SUMS: Final = 91
"""float64[N] scratch."""
LEVELS: Final = 93
"""1 where a level may have changed at the last row, or with the last plan."""
GUARDED: Final = 96
"""1 where agents have protective levels."""
F_GUARDS: Final = 97
"""float64[A, 2]: stop and target of each agent as fractions; infinite where there is none."""
REALISED: Final = 100
"""1 where realised returns are measured."""
A_REALISED: Final = 101
"""int64[B] returns before the first row."""
F_REALISED: Final = 102
"""float64[B, KEPT + T] returns of a book: at most KEPT before the first row, then by row."""
F_VOLUME: Final = 103
"""float64[N] average volume in lots at the last row."""
HEAD: Final = 108

PLAN: Final = 6
"""Entries of a plan: its row, 1 with a request, orders sent, where their rows of the digest end in the buffer, sample
and number of the basket."""

SET: Final = 2
"""Entries of a set of limits: place and number of its statistics."""

STATISTIC: Final = 6
"""Entries of a statistic of a set: kind, place in the table, lookback, and, of a tail, its place in the counts."""
DEVIATION: Final = 0
DEVIATION_AND_MEAN: Final = 1
TAIL_OF: Final = 2
HISTORY: Final = 3
"""Only the least number of returns of a lookback."""
