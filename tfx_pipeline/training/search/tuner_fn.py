"""`tuner_fn` of the Tuner component: the search of `dmf tune` for the configuration's model."""

from __future__ import annotations

import hashlib
from typing import Any

from tfx.components.tuner.component import TunerFnResult

from tfx_pipeline.config.label import Label
from tfx_pipeline.files.addresses import local, parent
from tfx_pipeline.training.input_uris import CONTENT, REQUESTS, uri_of
from tfx_pipeline.training.search.model_search import model_search
from tfx_pipeline.training.search.settings import SearchSettings
from tfx_pipeline.training.trial_data import read_trial_data


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Makes the search; the entry that TFX calls by its dotted path.

    Args:
        fn_args: TFX's `FnArgs`; its `custom_config` has the `SearchSettings` and the folders of the further inputs.
    """
    settings = SearchSettings.from_custom_config(fn_args.custom_config)
    content, requests = (uri_of(fn_args.custom_config, key) for key in (CONTENT, REQUESTS))
    transformed = parent(parent(fn_args.train_files[0]))
    data = read_trial_data(
        examples=requests,
        transformed=transformed,
        transform_graph=fn_args.transform_graph_path,
        content=content,
        features=settings.features,
        max_history=settings.max_history,
        evaluation=settings.evaluation,
        objectives=settings.objectives,
        age_buckets=settings.age_buckets,
        sequences=settings.sequences,
        digest=_digest(transformed, content, requests, settings.code),
    )
    search = model_search(
        settings.tuning,
        Label(settings.model.name, ()),
        settings.model.params,
        settings.training,
        data,
        trials_folder=local(settings.trials_folder),
        directory=local(fn_args.working_dir),
        trials=settings.tuning.trials,
    )
    return TunerFnResult(tuner=search, fit_kwargs={})


def _digest(*parts: str) -> str:
    """One per set of input artifacts, whose places are their versions, and code."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
