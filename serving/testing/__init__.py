"""A ranking server for tests of code that uses `serving.client`; it needs what the client needs, never TensorFlow."""

from serving.testing.fake_model import FakeRequest, Scorer, hash_scorer
from serving.testing.fake_server import FakeRankingServer

__all__ = ["FakeRankingServer", "FakeRequest", "Scorer", "hash_scorer"]
