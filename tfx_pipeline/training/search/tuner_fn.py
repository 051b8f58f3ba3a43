"""`tuner_fn` of the Tuner component: the search of `dmf tune` for the configuration's model."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from tfx.components.tuner.component import TunerFnResult

from tfx_pipeline.config.label import Label
from tfx_pipeline.config.schema import Evaluation, Features, Model, Training
from tfx_pipeline.config.tuning import Tuning
from tfx_pipeline.files.addresses import local, parent
from tfx_pipeline.training.search.model_search import model_search
from tfx_pipeline.training.trial_data import read_trial_data


@dataclasses.dataclass(frozen=True)
class TunerConfig:
    """The sections of the configuration that a search depends on, and where its artifacts lie.

    Attributes:
        trials_folder: keeps what trials came to, so that a search that was killed goes on.
        code: digest of the code that trains and scores.
        max_history: `history.max_length`.
        content_uri: artifact of `ItemContentGen`.
        requests_uri: raw examples.
    """

    trials_folder: str
    code: str
    max_history: int
    content_uri: str
    requests_uri: str
    features: Features
    evaluation: Evaluation
    model: Model
    training: Training
    tuning: Tuning

    @classmethod
    def from_custom_config(cls, custom_config: dict[str, Any]) -> TunerConfig:
        """Inverse of what the pipeline and the Tuner's executor put into `custom_config`."""
        sections = {"features": Features, "evaluation": Evaluation, "model": Model}
        sections |= {"training": Training, "tuning": Tuning}
        values = {f.name: custom_config[f.name] for f in dataclasses.fields(cls)}
        return cls(**{k: sections[k].model_validate_json(v) if k in sections else v for k, v in values.items()})


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Makes the search; the entry that TFX calls by its dotted path.

    Args:
        fn_args: TFX's `FnArgs`; its `custom_config` is what `TunerConfig` reads.
    """
    config = TunerConfig.from_custom_config(fn_args.custom_config)
    transformed = parent(parent(fn_args.train_files[0]))
    data = read_trial_data(
        examples=config.requests_uri,
        transformed=transformed,
        transform_graph=fn_args.transform_graph_path,
        content=config.content_uri,
        features=config.features,
        max_history=config.max_history,
        evaluation=config.evaluation,
        digest=_digest(transformed, config),
    )
    search = model_search(
        config.tuning,
        Label(config.model.name, ()),
        config.model.params,
        config.training,
        data,
        trials_folder=local(config.trials_folder),
        directory=local(fn_args.working_dir),
        trials=config.tuning.trials,
    )
    return TunerFnResult(tuner=search, fit_kwargs={})


def _digest(transformed: str, config: TunerConfig) -> str:
    """One per set of input artifacts and code, whose places are their versions."""
    parts = [transformed, config.content_uri, config.requests_uri, config.code]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
