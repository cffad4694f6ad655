"""results.json: what it holds, and reading it again.

All numbers are finite; null where something was not computed or is undefined.
"""

from __future__ import annotations

from pathlib import Path

from depcli.errors import BadInput, DepError, Incompatible, NotFound
from depcli.evaluation import predictions as files
from depcli.system import resumable

SCHEMA = 5
_NUMBER = (int, float)
_OPTIONAL = (int, float, type(None))
_INTERVAL = {
    "difference": _NUMBER,
    "low": _OPTIONAL,
    "high": _OPTIONAL,  # the mean, and the ends of its interval, if there is one
    "confidence": _NUMBER,
    "resamples": int,
    "seed": int,  # of the bootstrap
    "requests": int,  # pairs of values: one for each target, averaged over the seeds
    "groups": int,  # users, or where there is one alone, reviews
    "clear": bool,  # the interval leaves 0 out
}
# Field -> type, a description of the object there, or [that] for a list, or {"*": that} for an object with names as fields.
FIELDS = {
    "schema": int,
    "dep": str,
    "created": str,  # the version of dep
    "settings": dict,  # all that shapes a text; a folder is for one of these
    "seeds": [int],  # the sampling seeds, each with the same targets
    "targets": int,  # held-out reviews
    "requests": int,  # targets x seeds: texts of each method
    "users": int,
    "methods": {
        "*": {
            "metrics": {
                "*": {
                    "value": _OPTIONAL,  # mean over the seeds; where values are missing, over those that are there
                    "per_seed": [_OPTIONAL],  # in the order of `seeds`
                    "se_seeds": _OPTIONAL,  # of the mean over seeds, the targets given
                    "se_users": _OPTIONAL,  # of the mean over users (one alone: over reviews)
                    "undefined": int,  # targets without a value
                    "signature": str,
                }
            },
            "nll": (dict, type(None)),  # see summary.likelihood_summary; independent of the seeds
            "swap": {"*": (dict, type(None))},  # by what was swapped: an interval of own minus stranger, with both means
            "empty": int,
            "stopped_by_length": int,
            "unfinished_thoughts": int,  # texts that are empty since they were all thought
            "mean_words": _NUMBER,
            "mean_prompt_tokens": _NUMBER,
            "mean_generated_tokens": _NUMBER,
            "mean_shown_reviews": _NUMBER,
            "profiles": (dict, type(None)),
            "generation": {"requests": int, "seconds": _NUMBER},  # of the run that wrote this file alone
        }
    },
    "real": {  # of the real reviews
        "mean_words": _NUMBER,
        "distinct1": _NUMBER,
        "distinct2": _NUMBER,
        "alignment_chance": _OPTIONAL,  # what difference alignment is without any relation, see alignment.py
        "judge_others": (dict, type(None)),  # the same judge on what others wrote about these items: summary.others_summary
    },
    "differences": [
        {
            "metric": str,
            "method": str,
            "against": str,
            **_INTERVAL,
            "p": _NUMBER,  # of the permutation test
            "p_holm": _NUMBER,  # the same, corrected for all in this list
            "significant": bool,  # p_holm is at most tests.alpha
            "better": (str, type(None)),  # the method that is, where it is significant
        }
    ],
    "tests": {
        "interval": str,
        "resamples": int,
        "test": str,
        "flips": int,
        "seed": int,
        "correction": str,
        "corrected_for": int,
        "alpha": _NUMBER,
    },
    "study": (dict, type(None)),  # "name", "about", "reference", settings of the "variants" by label, commands for the "missing"
    "groups": (dict, type(None)),  # of users: see groups.compare_groups
    "training": {
        "*": {  # of the methods with an adapter
            "adapter": str,
            "best_epoch": int,
            "epochs": [dict],  # "epoch" and "loss" of the validation, nats per token
            "text_alone": {"*": _NUMBER},  # the same without an adapter, by method
            "options": dict,  # what it was trained with, and the sha256 of its weights
        }
    },
    "seconds": {"*": _NUMBER},  # by part, of the run that wrote this file alone
    "notes": [str],
}


def problems(value, expected=FIELDS, where: str = "results") -> list[str]:
    """What is missing, too much or of another type in the content of a results.json, by its place; none when all is well."""
    if isinstance(expected, list):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [found for i, entry in enumerate(value) for found in problems(entry, expected[0], f"{where}[{i}]")]
    if not isinstance(expected, dict):
        right = isinstance(value, expected) and not (isinstance(value, bool) and expected is not bool)
        return [] if right else [f"{where} is {type(value).__name__}"]
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    if "*" in expected:
        return [found for name, entry in value.items() for found in problems(entry, expected["*"], f"{where}.{name}")]
    named = [f"{where}.{name} is missing" for name in expected.keys() - value.keys()]
    named += [f"{where}.{name} is not known" for name in value.keys() - expected.keys()]
    shared = (name for name in expected if name in value)
    return sorted(named) + [found for name in shared for found in problems(value[name], expected[name], f"{where}.{name}")]


def lost_with(results: dict, out: Path) -> str | None:
    """What the results that lie in the folder `out` tell and these, which are to take their place, do not; None for nothing."""
    try:
        before = read_results(out)
    except DepError:
        return None
    named = ", ".join(name for name in before["methods"] if name not in results["methods"])
    fewer = before["requests"] > results["requests"]
    if not named and not fewer:
        return None
    more = " and ".join(filter(None, (named, f"{before['requests']:,} texts of each method" if fewer else "")))
    return f"results.json told of {more}; the texts are kept, and the command of then tells of them again"


def read_results(out: Path) -> dict:
    """The results of a finished evaluation in the folder `out`. Raises NotFound where there are none, Incompatible for another
    version, BadInput for a file that is not what it should be."""
    path = out / files.RESULTS
    again = "run its `dep eval` again: texts made with the same settings are kept, and the results are made anew"
    if not path.is_file():
        begun = (out / files.SETTINGS).exists()
        raise NotFound(f"{out} has no finished evaluation", again if begun else "name a folder that `dep eval` wrote to")
    found = resumable.read_json(path, again)
    if found.get("schema") != SCHEMA:
        raise Incompatible(f"{path} has the schema {found.get('schema')!r}; this version reads {SCHEMA}", again)
    if wrong := problems(found):
        raise BadInput(f"{path}: {wrong[0]}", again)
    return found
