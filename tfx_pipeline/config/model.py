"""The section `model`: a model of the registry, and where one of the user's own is registered."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dmf_keras.models import BUILT_IN
from tfx_pipeline.config.model_module import find_model_class, import_model_module, lies_in
from tfx_pipeline.config.values import ConfigPath, Params, Section


class Model(Section):
    """A model of the registry and its hyper-parameters, which the model itself checks."""

    name: str = "dmf"
    module_folder: ConfigPath | None = Field(
        None, description="where `module` lies, if it is not installed; absent: beside the configuration"
    )
    module: str | None = Field(
        None,
        description="of a model of your own: imported before the name is looked up, and registers it; installed or "
        "in `module_folder`",
    )
    params: Params = {}

    @model_validator(mode="before")
    @classmethod
    def _with_the_folder_of_its_module(cls, values: Any, info: ValidationInfo) -> Any:
        # As a path is absolute once loaded: who reads the section of a finished run has no configuration file.
        folder = (info.context or {}).get("base_dir")
        if folder is None or not isinstance(values, dict) or values.get("module_folder") is not None:
            return values
        return {**values, "module_folder": folder} if lies_in(values.get("module"), folder) else values

    @field_validator("module")
    @classmethod
    def _importable(cls, module: str | None, info: ValidationInfo) -> str | None:
        if module is not None:
            # A module that does not lie beside the configuration was looked for there all the same.
            import_model_module(module, info.data.get("module_folder") or (info.context or {}).get("base_dir"))
        return module

    @model_validator(mode="after")
    def _known(self) -> Model:
        from dmf_keras.models.registry import model_class, model_config, model_names

        if self.name in model_names():
            hint = ""
        elif self.module is None:
            hint = "; for a model of your own, give in `module` what registers it"
        else:
            hint = f"; '{self.module}' was imported, but does not call register_model('{self.name}', ...)"
        try:
            model_config(self.name, self.params)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{error}{hint}") from None
        # The class of a user's hyper-parameters may raise anything.
        except Exception as error:
            raise ValueError(f"the hyper-parameters of '{self.name}' raise {type(error).__name__}: {error}") from None
        if self.module is not None:
            find_model_class(model_class(self.name))
        return self

    def without_idle_module(self) -> Model:
        """The section without a module that its model does not need: one of another model, for a comparison."""
        if self.name not in BUILT_IN:
            return self
        return self.model_copy(update={"module": None, "module_folder": None})
