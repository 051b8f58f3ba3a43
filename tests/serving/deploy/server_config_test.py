"""The text-format files are what TensorFlow Serving's parsers take, and mean what their comments say."""

from __future__ import annotations

import pytest
from google.protobuf import text_format


def read(deploy, name):
    return (deploy / name).read_text(encoding="utf-8")


def test_default_keeps_the_two_newest_versions_and_sets_no_labels(server_config):
    model = server_config("models.config")
    assert model.model_version_policy.WhichOneof("policy_choice") == "latest"
    assert model.model_version_policy.latest.num_versions == 2
    assert not model.version_labels, "labels of fixed numbers would go stale as `latest` moves on"


def test_canary_labels_point_to_versions_that_are_loaded(server_config):
    model = server_config("models.canary.config")
    versions = list(model.model_version_policy.specific.versions)
    assert len(versions) == len(set(versions)) == 2
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) == set(versions)
    assert model.version_labels["stable"] < model.version_labels["canary"]


def test_both_serve_the_same_model(server_config):
    models = [server_config(name) for name in ("models.config", "models.canary.config")]
    assert {(model.name, model.base_path, model.model_platform) for model in models} == {
        ("demo", "/models/demo", "tensorflow")
    }


def test_batching_parameters(deploy, parse):
    parameters = parse("BatchingParameters", read(deploy, "batching_parameters.txt"))
    assert parameters.pad_variable_length_inputs, "requests differ in length"
    assert parameters.max_batch_size.value >= 2
    assert 0 < parameters.batch_timeout_micros.value <= 5000
    assert parameters.num_batch_threads.value >= 1
    assert parameters.max_enqueued_batches.value >= parameters.num_batch_threads.value
    assert not parameters.allowed_batch_sizes, "the last one would have to equal max_batch_size"


def test_monitoring_is_on(deploy, parse):
    monitoring = parse("MonitoringConfig", read(deploy, "monitoring.config"))
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_tls_example_has_pem_texts_and_no_real_key(deploy, parse):
    tls = parse("SSLConfig", read(deploy, "ssl.example.config"))
    assert tls.server_key == "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n"
    assert tls.server_cert.startswith("-----BEGIN CERTIFICATE-----\n")
    assert tls.custom_ca.startswith("-----BEGIN CERTIFICATE-----\n")
    assert tls.client_verify


def test_the_parser_refuses_what_the_server_would_refuse(deploy, parse):
    text = read(deploy, "batching_parameters.txt")
    with pytest.raises(text_format.ParseError, match="max_batchsize"):
        parse("BatchingParameters", text.replace("max_batch_size", "max_batchsize"))
    with pytest.raises(text_format.ParseError):
        parse("BatchingParameters", text.replace("max_batch_size { value: 8 }", "max_batch_size: 8"))
