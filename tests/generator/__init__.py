"""Whole runs at random: a plan is drawn from a seed, performed against a local Klar, and judged by an oracle.

`plan` and `tap` say what is loaded, `draw` draws it, `perform` does it, `klar` records what Klar saw, `oracle` judges
with `evidence` and `rejects_file`. Of the package none of them knows more than its command and its local Klar.
"""
