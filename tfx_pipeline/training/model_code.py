"""Which code a model of the registry is made of: part of the key of everything that was trained."""

from __future__ import annotations

from dmf_keras.models.registry import model_class, model_names
from tfx_pipeline.files.source_digests import code_digest, module_digest


def model_code_digest(name: str, module: str | None = None) -> str:
    """Digest of the class of a registered model with all that it imports.

    Args:
        name: a registered name.
        module: that registered it, where it is a model of somebody's own: its package counts too.
    """
    own = model_class(name).partition(":")[0]
    if own.partition(".")[0] == "dmf_keras":
        return code_digest([own])
    # What a model of one's own imports is not known: any model and layer of the library may be in it.
    library = (model_class(other).partition(":")[0] for other in model_names())
    digest = code_digest(sorted(part for part in library if part.partition(".")[0] == "dmf_keras"))
    return "-".join([digest, *sorted({module_digest(part) for part in {own, module or own}})])
