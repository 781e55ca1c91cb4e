"""Section 2 of the paper: sampling neural level sets, and samples as functions of the parameters."""

from nls.levelset.dual_norm import StepNorm, least_step_inverse
from nls.levelset.false_position import SegmentRoots, false_position
from nls.levelset.fields import (
    ClassMargin,
    Field,
    class_margin,
    evaluation_mode,
    members,
    soft_class_margin,
    values_and_jacobian,
    values_of,
)
from nls.levelset.newton import (
    Projection,
    as_column,
    minimal_norm_solution,
    project,
    pseudo_inverse,
    rows_where,
)
from nls.levelset.sample_network import SampleNetwork
from nls.levelset.tape import Tape, Traceable

__all__ = [
    "ClassMargin",
    "Field",
    "Projection",
    "SampleNetwork",
    "SegmentRoots",
    "StepNorm",
    "Tape",
    "Traceable",
    "as_column",
    "class_margin",
    "evaluation_mode",
    "false_position",
    "least_step_inverse",
    "members",
    "minimal_norm_solution",
    "project",
    "pseudo_inverse",
    "rows_where",
    "soft_class_margin",
    "values_and_jacobian",
    "values_of",
]
