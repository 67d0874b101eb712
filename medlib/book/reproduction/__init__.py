"""The record executed again: what came out the same, what within a stated tolerance, and what moved."""
