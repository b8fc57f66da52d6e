"""Models as judges: blind, in both orders, with quotes that are looked up, and what is judged never speaks to them."""
