"""What must hold of an exported model before it may be pushed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving import contract
from serving.export.approximate_check import check_index
from serving.export.metadata import read_json
from serving.export.retrieval_check import check_retrieval
from serving.export.servable import Servable, largest_difference, request_arrays
from serving.export.warmup import read_warmup
from serving.formula import Formula
from serving.messages import first_line

# Of AUC, GAUC and log loss on eval, by a lower precision.
MOST_ROUNDING = 2e-4


def check_servable(
    directory: str | Path, max_difference: float, *, min_recall: float | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Everything that must hold of a model before it may be pushed.

    It loads; it has the signatures of its contract; every warm-up request is answered with finite scores; on the golden
    requests the `rank` signature equals the scores that the live Keras model gave before the export, `user_tower` and
    then `candidate` equal `rank`, and scores are probabilities. Golden requests that carry content go to
    `rank_with_content` and `candidate_with_content` instead. Of several objectives all this holds of each, and `score`
    is the formula of the contract. With a retrieval stage see `check_retrieval` too.

    Keras scores in float32. Of a model in bfloat16 scores may lie further apart, by `contract.SCORE_TOLERANCE`, and its
    AUC, GAUC and log loss on eval must be those in float32 up to `MOST_ROUNDING`, as far as eval can tell.

    Args:
        directory: of the SavedModel.
        max_difference: allowed absolute difference of a score.
        min_recall: that the approximate index must reach; None: there need be none.

    Returns:
        Problems as sentences (empty: the model may be pushed), and figures: requests checked, largest differences.
    """
    figures: dict[str, Any] = {"golden_requests": 0, "warmup_requests": 0}
    try:
        model_contract = contract.ModelContract.read(directory)
        golden = json.loads(Path(directory, contract.GOLDEN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"the model lacks a readable contract or golden requests: {error}"], figures
    try:
        servable = Servable(directory)
    # TensorFlow raises many types here, and each of them means one thing: the server would not load it either.
    except Exception as error:
        return [f"TensorFlow Serving's loader refuses the model: {first_line(error)}"], figures
    problems = _check_rounding(directory, model_contract.precision, figures)
    with servable:
        wanted = {contract.USER_TOWER, contract.CANDIDATE, contract.RANK, contract.SERVING_DEFAULT}
        missing = sorted((wanted | set(model_contract.signatures)) - set(servable.signatures))
        if missing:
            return [f"signatures {missing} are missing; the model has {sorted(servable.signatures)}"], figures
        problems += _check_warmup(servable, directory, figures)
        problems += _check_golden(servable, model_contract, golden, max_difference, figures)
        if model_contract.retrieval_items:
            problems += check_retrieval(servable, model_contract, golden, max_difference, figures)
            problems += check_index(servable, directory, model_contract, golden, min_recall, figures)
    return problems, figures


def _check_rounding(directory: str | Path, precision: str, figures: dict[str, Any]) -> list[str]:
    """What a lower precision costs on eval, as it was measured when the model was exported."""
    if precision == contract.FLOAT32:
        return []
    try:
        measured = (read_json(directory, contract.METADATA_FILE) or {})["precision"]
        changes = {name: (each["value"], each["low"], each["high"]) for name, each in measured["changes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"the metadata does not say what {precision} costs on eval: {type(error).__name__} {error}"]
    figures["precision"] = measured
    # A small split tells pairs apart that float32 orders by chance: where its interval holds a small change, it may be.
    return [
        f"{precision} changes {name} on eval by {value:+.5f} [{low:+.5f}, {high:+.5f}], allowed {MOST_ROUNDING:g}; "
        f"set serving.precision to {contract.FLOAT32}"
        for name, (value, low, high) in changes.items()
        if not (low <= MOST_ROUNDING and high >= -MOST_ROUNDING)
    ]


def _check_warmup(servable: Servable, directory: str | Path, figures: dict[str, Any]) -> list[str]:
    problems = []
    try:
        requests = read_warmup(Path(directory, contract.WARMUP_FILE))
    except (OSError, ValueError, tf.errors.OpError) as error:
        return [f"warm-up requests cannot be read: {first_line(error)}"]
    for number, (signature, inputs) in enumerate(requests):
        figures["warmup_requests"] += 1
        try:
            outputs = servable.run(signature, inputs)
        except Exception as error:
            problems.append(f"warm-up request {number} of '{signature}' fails: {first_line(error)}")
            continue
        bad = [name for name, value in outputs.items() if value.dtype.kind == "f" and not np.isfinite(value).all()]
        if bad:
            problems.append(f"warm-up request {number} of '{signature}' gives non-finite {bad}")
    if not requests:
        problems.append("there are no warm-up requests")
    return problems


def _check_golden(
    servable: Servable,
    model_contract: contract.ModelContract,
    golden: list[dict[str, Any]],
    max_difference: float,
    figures: dict[str, Any],
) -> list[str]:
    problems = []
    allowed = {"keras_vs_rank": max_difference, "two_step_vs_rank": max_difference}
    if model_contract.precision != contract.FLOAT32:
        allowed["keras_vs_rank"] = max(max_difference, model_contract.tolerance)
    largest = {"keras_vs_rank": 0.0, "two_step_vs_rank": 0.0}
    of_candidates = {contract.CANDIDATE_ITEM_ID, *model_contract.candidate_inputs}
    state_names = [n for n in servable.signatures[contract.CANDIDATE].inputs if n not in of_candidates]
    for entry in golden:
        case = entry["case"]
        figures["golden_requests"] += 1
        arrays = request_arrays(entry["request"], model_contract)
        candidates = {n: v for n, v in arrays.items() if n.startswith(contract.CONTENT_PREFIX)}
        carries = bool(candidates)
        candidates |= {name: arrays[name] for name in of_candidates}
        try:
            ranked = servable.run(contract.RANK_WITH_CONTENT if carries else contract.RANK, arrays)
            state = servable.run(contract.USER_TOWER, {n: v for n, v in arrays.items() if n not in candidates})
            two_step = servable.run(
                contract.CANDIDATE_WITH_CONTENT if carries else contract.CANDIDATE,
                {**{n: state[n] for n in state_names}, **candidates},
            )
        except Exception as error:
            problems.append(f"golden request '{case}' fails: {first_line(error)}")
            continue
        if wrong := _wrong_scores(ranked, model_contract):
            problems.append(f"golden request '{case}': {wrong}")
            continue
        keras = {contract.SCORE: entry["scores"], **entry.get("objectives", {})}
        for name, other in (("keras_vs_rank", keras), ("two_step_vs_rank", two_step)):
            differences = (largest_difference(ranked[output], other.get(output, ())) for output in sorted(ranked))
            difference = max(differences)
            largest[name] = max(largest[name], difference)
            if not difference <= allowed[name]:
                problems.append(
                    f"golden request '{case}': {name.replace('_', ' ')} differ by {difference:.2e}, "
                    f"allowed {allowed[name]:.2e}"
                )
    if not golden:
        problems.append("there are no golden requests")
    figures["max_difference"] = largest
    return problems


def _wrong_scores(outputs: Mapping[str, np.ndarray], model_contract: contract.ModelContract) -> str:
    """What is wrong with the scores themselves; "" if nothing is."""
    names = {name: contract.SCORE_PREFIX + name for name in model_contract.objectives}
    if missing := sorted(name for name, output in names.items() if output not in outputs):
        return f"there is no probability of {', '.join(missing)}; outputs are {sorted(outputs)}"
    by_name = {name: outputs[output] for name, output in names.items()}
    probabilities = by_name or {contract.SCORE: outputs[contract.SCORE]}
    for values in probabilities.values():
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
            return f"scores are not probabilities: {values.ravel()[:5]}"
    if by_name:
        expected = Formula(model_contract.formula, list(by_name))(by_name)
        score = outputs[contract.SCORE]
        if not np.isfinite(score).all() or not np.allclose(score, expected, rtol=1e-4, atol=1e-6):
            return f"scores are not '{model_contract.formula}': {score.ravel()[:5]}, expected {np.ravel(expected)[:5]}"
    return ""
