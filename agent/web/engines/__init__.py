"""The search engines, one file each. `search.py` beside this folder chooses among them."""
