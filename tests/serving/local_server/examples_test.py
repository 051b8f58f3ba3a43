"""`serving_default` takes serialised tf.Examples: bytes that are none are the caller's mistake."""

from __future__ import annotations

import base64
import json
import re
import shutil
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import Asker, refusal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(exported_dmf, tmp_path_factory):
    base = tmp_path_factory.mktemp("examples") / "dmf"
    shutil.copytree(exported_dmf, base / "1")
    with LocalServer(base, "dmf", rest_port=0) as server:
        yield server


def example(**features) -> bytes:
    lists = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))
        for name, values in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString()


GARBAGE = {
    "noise": b"\xff\xfe\xfd\xfc",
    "text": b"garbage",
    "cut": example(user_id=["u1"], candidate_item_id=["i1"])[:-3],
    "nothing in it": b"",
    "an id that is a number": tf.train.Example(
        features=tf.train.Features(feature={"user_id": tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))})
    ).SerializeToString(),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_bytes_that_are_no_example(server, case):
    body = {"inputs": {"examples": [{"b64": base64.b64encode(GARBAGE[case]).decode()}]}}
    url = f"http://{server.rest_target}/v1/models/dmf:predict"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=60)
    with Asker(server.target, "dmf") as asker:
        request = asker.request("serving_default", {"examples": np.array([GARBAGE[case]], object)})
        code, details = refusal(lambda: asker.send(request))
        assert code == "INVALID_ARGUMENT"
        assert re.search("[Ee]xample|Feature|Data types", details)
        # The server has not suffered.
        assert asker.states() == {1: "AVAILABLE"}
