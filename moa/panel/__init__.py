"""The members of a panel: what they see, what they are asked, their calls side by side, and what they came back with."""
