"""What a command may see and change: when it is confined (sandbox), by what (bubblewrap), what it could plant (planted), and what file tools
may touch while nobody watches (bounds).
"""
