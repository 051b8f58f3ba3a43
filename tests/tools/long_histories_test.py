"""The cut of long histories: the forms that are compared are one function, and the mask is the models' own."""

from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.errors import ModelError
from tools import long_histories
from tools.long_histories import GATHERED, MASKED, SCATTERED, WHOLE, attention_forms, main


def test_forms_of_the_cut_are_one_function():
    results = {name: form() for name, form in attention_forms(7, 40, 5).items()}
    assert list(results) == [WHOLE, MASKED, GATHERED, SCATTERED]
    np.testing.assert_allclose(results[GATHERED], results[MASKED], atol=1e-5)
    assert np.abs(results[WHOLE] - results[MASKED]).max() > 1e-2


def test_a_wrong_cut_is_not_timed(monkeypatch):
    def one_more(count, *arguments):
        return most_similar(count + 1, *arguments)

    most_similar = long_histories.most_similar
    monkeypatch.setattr(long_histories, "most_similar", one_more)
    with pytest.raises(ModelError, match="mask and gathered are not the same function"):
        attention_forms(7, 40, 5)


def test_a_reader_gets_a_table(capfd, monkeypatch):
    monkeypatch.setattr(long_histories, "MODELS", ("dmf_paper",))
    assert main(["--history", "6", "9", "--candidates", "4", "--top-k", "3", "--seconds", "0.01"]) == 0
    printed = capfd.readouterr().out
    for word in ("L = 6", "L = 9", WHOLE, SCATTERED, "dmf_paper, cut", "k = 3", "TensorFlow"):
        assert word in printed


def test_a_cut_that_cuts_nothing_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--history", "50", "1000"])
    assert "--top-k: must be below every --history, got 50" in capsys.readouterr().err
