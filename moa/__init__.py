"""Counsel: a panel of reference models, an aggregator, and private guidance for the model that acts."""

__version__ = "0.1.0"
