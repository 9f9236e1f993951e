"""The base of all server halves.

A strategy is a Flower ``Strategy``: ``FedAvg().start(grid=grid, initial_arrays=arrays)`` works in
anybody's ServerApp. What a method changes is one override of the hooks of `Strategy`; the round
loop calls them and is written once, in `strategies.rounds.loop`. A `Wrapper` is one around another.
"""

from __future__ import annotations

from strategies.hooks import Aggregation
from strategies.state import Options, State, Value
from strategies.strategy import Strategy
from strategies.wrapper import Wrapper, layers

__all__ = ["Aggregation", "Options", "State", "Strategy", "Value", "Wrapper", "layers"]
