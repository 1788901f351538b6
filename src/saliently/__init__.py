"""Which parts of the input did this prediction depend on, and can that answer be trusted?

    import saliently

    model = saliently.load("default")
    saliently.explain(model, "A gorgeous, witty, seductive movie.").show()

Nothing heavy is imported until one of these names is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "AttentionMaps": "attentions",
    "Comparison": "types",
    "Explanation": "types",
    "Figure": "reports",
    "Frozen": "interventions",
    "InputError": "errors",
    "Intervention": "interventions",
    "MaskedHeads": "interventions",
    "Matrix": "matrices",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "NumberError": "errors",
    "Options": "api",
    "Permuted": "interventions",
    "Plan": "plans",
    "RecipeError": "errors",
    "Report": "reports",
    "SaliencyError": "errors",
    "SaliencyWarning": "errors",
    "Solution": "games.asking",
    "SomeFailed": "errors",
    "Target": "types",
    "Uniform": "interventions",
    "Zeroed": "interventions",
    "attention": "attentions",
    "change_attention": "interventions",
    "compare": "api",
    "contrast": "contrasts",
    "evaluate": "evaluation",
    "explain": "api",
    "explain_each": "api",
    "importance": "importances",
    "load": "api",
    "load_explanation": "view.record",
    "load_explanations": "view.record",
    "load_report": "view.report_record",
    "parse": "names",
    "plan": "plans",
    "solve": "solving",
    "stream": "api",
    "stream_each": "api",
    "wrap": "api",
    "wrap_embedder": "models.embedder",
    "wrap_function": "models.function",
}

__all__ = [*sorted(_WHERE), "__version__"]

if TYPE_CHECKING:
    from saliently.api import Options, compare, explain, explain_each, load, stream, stream_each, wrap
    from saliently.attentions import AttentionMaps, attention
    from saliently.contrasts import contrast
    from saliently.errors import (
        InputError,
        MissingExtraError,
        ModelError,
        NumberError,
        RecipeError,
        SaliencyError,
        SaliencyWarning,
        SomeFailed,
    )
    from saliently.evaluation import evaluate
    from saliently.games.asking import Solution
    from saliently.importances import importance
    from saliently.interventions import (
        Frozen,
        Intervention,
        MaskedHeads,
        Permuted,
        Uniform,
        Zeroed,
        change_attention,
    )
    from saliently.matrices import Matrix
    from saliently.models.embedder import wrap_embedder
    from saliently.models.function import wrap_function
    from saliently.names import parse
    from saliently.plans import Plan, plan
    from saliently.reports import Figure, Report
    from saliently.solving import solve
    from saliently.types import Comparison, Explanation, Target
    from saliently.view.record import load_explanation, load_explanations
    from saliently.view.report_record import load_report


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'saliently' has no attribute {name!r}")
    found = getattr(import_module(f"saliently.{_WHERE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
