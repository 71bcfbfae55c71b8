"""What the stages ask of the outside world: one module a neighbour.

Each port says whether it may block, what it may raise, and what its answers mean. Production and
embedded adapters of a port pass one contract suite (`tests/contract`).
"""
