"""Drives worlds in two engines and compares what they record.

`drive` runs a world and `journal` records it; `features` names what took effect, `expected` what should.
`sides` has the two engines of a comparison, and `differences` prints the first difference of a world.
"""
