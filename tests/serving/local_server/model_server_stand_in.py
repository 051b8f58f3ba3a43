"""A program in the place of `tensorflow_model_server`, for tests of how it is started and ended."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Takes TensorFlow Serving's flags, no others, and answers as the client's fake.
STAND_IN = f"""#!{sys.executable}
import argparse, re, signal, sys, threading
sys.path.insert(0, {str(ROOT)!r})
from serving.testing import FakeRankingServer
parser = argparse.ArgumentParser()
for flag in ("port", "rest_api_port", "file_system_poll_wait_seconds", "grpc_max_threads",
             "max_num_load_retries", "load_retry_interval_micros"):
    parser.add_argument("--" + flag, type=int)
for flag in ("model_config_file", "batching_parameters_file", "enable_batching",
             "allow_version_labels_for_unavailable_models"):
    parser.add_argument("--" + flag)
flags = parser.parse_args()
config = open(flags.model_config_file).read()
if "broken" in config:
    sys.exit(3)
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
with FakeRankingServer(re.search(r'name: "(.*?)"', config)[1], features={{"gender": "string", "age": "float32"}},
                       port=flags.port, rest_port=flags.rest_api_port):
    ended.wait()
"""


def write_stand_in(folder: Path) -> Path:
    """Writes the program to `folder`, which is made."""
    path = folder / "tensorflow_model_server"
    folder.mkdir()
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return path
