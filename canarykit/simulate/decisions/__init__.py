"""The judge's rules run many times on simulated counts: operating characteristics, sample sizes, ramps."""

from canarykit.simulate.decisions.simulate import simulate_decisions

__all__ = ["simulate_decisions"]
