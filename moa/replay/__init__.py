"""Counsels that were kept, judged once more: `runs` finds and keeps them, `replaying` takes them anew, `comparing` holds two side by side."""
