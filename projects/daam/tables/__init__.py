"""The paper's tables and figures, re-run; outside the wheel.

Rows named ``oracle`` and ``supervised`` read the target's true identities,
and their results say so. Nothing else here does.
"""
