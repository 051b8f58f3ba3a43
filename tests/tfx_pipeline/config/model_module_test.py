"""`model.module`: where the module that registers an own model is found, and sentences for all that it may do wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dmf_keras.models import BUILT_IN, model_names, registry
from tfx_pipeline.config import PipelineConfig, load_config
from tfx_pipeline.config.loading import read_model_section
from tfx_pipeline.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]

REGISTERS = """
from dataclasses import dataclass
from dmf_keras.models import ModelConfig, register_model

@dataclass(frozen=True)
class Config(ModelConfig):
    width: int = 3

register_model("popularity", Config, "{class_module}:Popularity")
"""


@pytest.fixture(autouse=True)
def _nothing_leaks(monkeypatch):
    """Models, modules and search paths of one test are gone after it."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


@pytest.fixture
def write(config_file):
    """write(path, text): a file below the configuration's folder."""

    def _write(path: str, text: str) -> Path:
        file = config_file.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return _write


OWN = "model: {name: popularity, module: MODULE, params: {width: 5}}\n"


@pytest.mark.parametrize(
    ("module", "file"),
    [("my_ranking", "my_ranking.py"), ("my_team.ranking", "my_team/ranking.py"), ("my_pack", "my_pack/__init__.py")],
)
def test_a_module_beside_the_configuration_registers_its_model(load, write, module, file):
    # The class's module cannot be imported: it is only when the model is built.
    write("my_class.py", "1 / 0")
    write(file, REGISTERS.format(class_module="my_class"))
    config = load(more=OWN.replace("MODULE", module))
    assert (config.model.name, config.model.params) == ("popularity", {"width": 5})
    assert "popularity" in model_names()
    # The Trainer reads its section back, in a process that knows the module but no configuration file.
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config


# Not by their places: the project itself may lie in the temporary folder.
_SEARCHED = tuple(sys.path)


def _as_in_a_new_process() -> None:
    """Forgets the module, its model and the folders that were searched."""
    sys.path[:] = [place for place in sys.path if place in _SEARCHED]
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]
    for name in set(registry._MODELS) - BUILT_IN:
        del registry._MODELS[name]


@pytest.mark.parametrize(
    ("module", "file"), [("my_ranking", "my_ranking.py"), ("my_team.ranking", "my_team/ranking.py")]
)
def test_what_a_run_records_of_its_model_names_the_folder_of_the_module(load, write, module, file):
    write("my_class.py", "")
    folder = write(file, REGISTERS.format(class_module="my_class")).parents[file.count("/")]
    model = load(more=OWN.replace("MODULE", module)).model
    assert model.module_folder == folder
    recorded = model.model_dump(mode="json")
    _as_in_a_new_process()
    assert read_model_section(recorded) == model
    assert "popularity" in model_names()


def test_a_module_elsewhere_is_found_by_the_folder_that_is_given(load, write):
    write("elsewhere/my_ranking.py", REGISTERS.format(class_module="my_ranking"))
    model = load("model.module_folder=elsewhere", more=OWN.replace("MODULE", "my_ranking")).model
    assert (model.name, model.module_folder.name) == ("popularity", "elsewhere")


@pytest.mark.parametrize("recorded", [{"module": "my_gone"}, {"module": "my_gone", "module_folder": "/nowhere"}])
def test_of_a_run_with_a_built_in_model_a_module_beside_it_is_not_asked_for(recorded):
    model = read_model_section({"name": "din", "params": {}, **recorded})
    assert (model.name, model.module, model.module_folder) == ("din", None, None)


def test_a_run_that_recorded_no_folder_finds_its_module_where_python_does(load, write, monkeypatch):
    file = write("my_ranking.py", REGISTERS.format(class_module="my_ranking"))
    recorded = load(more=OWN.replace("MODULE", "my_ranking")).model.model_dump(mode="json", exclude={"module_folder"})
    _as_in_a_new_process()
    with pytest.raises(ConfigError) as refused:
        read_model_section(recorded)
    assert str(refused.value) == (
        "model.module: no module 'my_ranking': it is not installed; modules there: none (given: 'my_ranking'); put the "
        "folder that holds the module into PYTHONPATH"
    )
    monkeypatch.syspath_prepend(str(file.parent))
    assert read_model_section(recorded).name == "popularity"


def test_an_installed_module_has_no_folder(load, tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    (site / "my_installed.py").write_text(REGISTERS.format(class_module="my_installed"))
    monkeypatch.syspath_prepend(str(site))
    assert load(more=OWN.replace("MODULE", "my_installed")).model.module_folder is None


@pytest.mark.parametrize("place", ["my_absent", "my_absent.model", "my_ranking.model"])
def test_a_class_in_a_module_that_is_nowhere_is_refused(refusal, write, place):
    write("my_ranking.py", REGISTERS.format(class_module=place))
    assert refusal(more=OWN.replace("MODULE", "my_ranking")) == [
        f"model: the model is registered as {place}:Popularity, but there is no module '{place}'"
    ]


def test_an_installed_module_is_found_from_anywhere(load, tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    (site / "my_installed.py").write_text(REGISTERS.format(class_module="my_installed"))
    monkeypatch.syspath_prepend(str(site))
    assert load(more=OWN.replace("MODULE", "my_installed")).model.name == "popularity"


def test_the_name_in_the_list_of_models_and_its_parameters_are_the_users(refusal, write):
    write("my_ranking.py", REGISTERS.format(class_module="my_ranking"))
    own = OWN.replace("MODULE", "my_ranking")
    assert refusal("model.params={widht: 5}", more=own) == [
        "model: model 'popularity' has no parameter 'widht' (did you mean 'width'?); parameters: width"
    ]
    (problem,) = refusal("model.name=popularty", more=own)
    assert problem.startswith("model: no model 'popularty' (did you mean 'popularity'?); models: ")
    assert ", popularity, " in problem
    assert problem.endswith("'my_ranking' was imported, but does not call register_model('popularty', ...)")


def test_an_unknown_name_without_a_module_says_that_there_can_be_one(refusal):
    (problem,) = refusal("model.name=popularity")
    assert problem.endswith("; for a model of your own, give in `module` what registers it")


def test_a_module_that_is_nowhere_is_said_with_what_is_there(refusal, write, config_file):
    write("my_rankings.py", "")
    write("my_team/__init__.py", "")
    write("my_team/models.py", "")
    folder = config_file.parent
    assert refusal("model.module=my_ranking") == [
        "model.module: no module 'my_ranking' (did you mean 'my_rankings'?): it is neither installed nor in "
        f"{folder}; modules there: my_rankings, my_team (given: 'my_ranking')"
    ]
    assert refusal("model.module=my_team.model") == [
        "model.module: no module 'my_team.model' (did you mean 'my_team.models'?): it is not in the package 'my_team'; "
        "modules there: my_team.models (given: 'my_team.model')"
    ]


@pytest.mark.parametrize("name", ["my_ranking.py", "models/ranking", "../ranking", "my team", "", ".ranking", "1st"])
def test_what_is_no_modules_name_is_refused(refusal, name):
    assert refusal(f"model.module={name!r}") == [
        f"model.module: should be a module's name as in an import, my_team.ranking, and not a file's (given: {name!r})"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\n\n1 / 0\n", "ZeroDivisionError: division by zero (FILE, line 3)"),
        ("def f(:\n    pass\n", "SyntaxError: invalid syntax (my_broken.py, line 1) (FILE, line 1)"),
        ("import my_absent_library\n", "ModuleNotFoundError: No module named 'my_absent_library' (FILE, line 1)"),
        ("import sys\nsys.exit()\n", "SystemExit: no message (FILE, line 2)"),
        ("raise KeyError('a\\nb')\n", "KeyError: 'a\\nb' (FILE, line 1)"),
        (
            "from dmf_keras.models import ModelConfig, register_model\nregister_model('dmf', ModelConfig, 'a:B')\n",
            "ValueError: model 'dmf' is registered already, as dmf_keras.models.dmf.model:DMF; got a:B (FILE, line 2)",
        ),
    ],
    ids=["raises", "syntax", "library", "exits", "lines", "taken"],
)
def test_a_module_that_fails_is_said_with_the_line(refusal, write, text, message):
    file = write("my_broken.py", text)
    problems = refusal("model.module=my_broken", "training.epochs=0")
    assert problems == [
        f"model.module: fails when imported: {message.replace('FILE', str(file))} (given: 'my_broken')",
        "training.epochs: should be greater than or equal to 1 (given: 0)",
    ]


def test_the_line_is_that_of_the_file_inside_the_package(refusal, write):
    write("my_pack/__init__.py", "from my_pack import inner\n")
    inner = write("my_pack/inner.py", "import json\n\njson.loads('[')\n")
    (problem,) = refusal("model.module=my_pack")
    assert f"({inner}, line 3)" in problem


def test_a_file_whose_name_is_taken_is_refused_and_not_silently_passed_over(refusal, write):
    file = write("colorsys.py", REGISTERS.format(class_module="colorsys"))
    import colorsys

    assert refusal("model.module=colorsys") == [
        f"model.module: the name 'colorsys' is taken by {colorsys.__file__}; rename {file} (given: 'colorsys')"
    ]


def test_the_folder_hides_no_installed_module(load, write, monkeypatch):
    write("my_ranking.py", REGISTERS.format(class_module="my_ranking"))
    write("colorsys.py", "raise AssertionError\n")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    load(more=OWN.replace("MODULE", "my_ranking"))
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 1) == (2 / 3, 1, 1)


def test_hyper_parameters_that_raise_are_a_sentence(refusal, write):
    text = REGISTERS.format(class_module="my_ranking").replace(
        "    width: int = 3", "    width: int = 3\n    def problems(self):\n        return self.wdth"
    )
    write("my_ranking.py", text)
    (problem,) = refusal(more=OWN.replace("MODULE", "my_ranking"))
    assert problem == (
        "model: the hyper-parameters of 'popularity' raise AttributeError: 'Config' object has no attribute 'wdth'"
    )


def test_checking_the_example_loads_no_keras():
    program = (
        "import json, sys\nfrom tfx_pipeline.cli import main\nstatus = main(sys.argv[1:])\n"
        "print(json.dumps([status, sorted({'keras', 'tensorflow'} & set(sys.modules)), 'two_tower' in sys.modules]))"
    )
    command = [sys.executable, "-c", program, "config", "check", "examples/own_model/config.yaml"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    assert json.loads(result.stdout.splitlines()[-1]) == [0, [], True]


def test_two_configurations_of_one_process_do_not_share_a_module_by_its_name(config_file, write, tmp_path):
    write("my_ranking.py", REGISTERS.format(class_module="my_ranking"))
    config_file.write_text(config_file.read_text() + OWN.replace("MODULE", "my_ranking"))
    load_config(config_file)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text(config_file.read_text())
    (other / "my_ranking.py").write_text("raise AssertionError\n")
    with pytest.raises(ConfigError, match=rf"is taken by {tmp_path}/my_ranking.py; rename {other}/my_ranking.py"):
        load_config(other / "config.yaml")
