"""The demo model in every format, for every test of the engine."""

from model_twins import twins

__all__ = ["twins"]
