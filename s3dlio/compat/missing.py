"""What the Rust package of this name has and this release has not. All of these names say so with the same sentence."""

from __future__ import annotations

#: The feature -> the names that belong to it.
NOT_YET = {
    "the op-log": """
        finalize_op_log get_client_id get_clock_offset init_op_log is_op_log_active op_log_stats set_client_id
        set_clock_offset
    """,
}


def reason(name: str) -> str:
    """What follows "has no attribute": why a name that scripts may rightly expect is not there, else nothing."""
    feature = next((feature for feature, names in NOT_YET.items() if name in names.split()), None)
    return f": {feature}: not in this release yet" if feature else ""
