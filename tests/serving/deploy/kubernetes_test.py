"""The Kubernetes and KServe manifests: no misspelt key, and names, ports, paths and labels that fit each other."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

APP = {"app.kubernetes.io/name": "dmf-serving"}

# Shapes of the manifests: every key that may occur; "!" marks those that must; None is any value.
META = {"name!": str, "labels": dict}
SELECTOR = {"matchLabels!": dict}
PROBE = {
    "httpGet": {"path!": str, "port!": str},
    "tcpSocket": {"port!": str},
    "periodSeconds!": int,
    "timeoutSeconds!": int,
    "failureThreshold!": int,
}
RESOURCES = {"requests!": {"cpu!": str, "memory!": str}, "limits!": {"cpu": str, "memory!": str}}
CONTAINER = {
    "name!": str,
    "image!": str,
    "command!": [str],
    "args!": [str],
    "ports!": [{"name!": str, "containerPort!": int}],
    "startupProbe!": PROBE,
    "readinessProbe!": PROBE,
    "livenessProbe!": PROBE,
    "lifecycle!": {"preStop!": {"exec!": {"command!": [str]}}},
    "resources!": RESOURCES,
    "securityContext!": {
        "allowPrivilegeEscalation!": bool,
        "readOnlyRootFilesystem!": bool,
        "capabilities!": {"drop!": [str]},
    },
    "volumeMounts!": [{"name!": str, "mountPath!": str, "readOnly": bool}],
}
POD = {
    "terminationGracePeriodSeconds!": int,
    "securityContext!": {
        "runAsNonRoot!": bool,
        "runAsUser!": int,
        "runAsGroup": int,
        "seccompProfile": {"type!": str},
    },
    "topologySpreadConstraints": [
        {"maxSkew!": int, "topologyKey!": str, "whenUnsatisfiable!": str, "labelSelector!": SELECTOR}
    ],
    "containers!": [CONTAINER],
    "volumes!": [
        {
            "name!": str,
            "persistentVolumeClaim": {"claimName!": str},
            "configMap": {"name!": str},
            "emptyDir": dict,
        }
    ],
}
KINDS = {
    "Deployment": (
        "apps/v1",
        {
            "selector!": SELECTOR,
            "strategy!": {"rollingUpdate!": {"maxUnavailable!": int, "maxSurge!": int}},
            "template!": {"metadata!": {"labels!": dict}, "spec!": POD},
        },
    ),
    "Service": (
        "v1",
        {"clusterIP": str, "selector!": dict, "ports!": [{"name!": str, "port!": int, "targetPort!": str}]},
    ),
    "PersistentVolumeClaim": (
        "v1",
        {"accessModes!": [str], "resources!": {"requests!": {"storage!": str}}},
    ),
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        {
            "scaleTargetRef!": {"apiVersion!": str, "kind!": str, "name!": str},
            "minReplicas!": int,
            "maxReplicas!": int,
            "metrics!": [
                {
                    "type!": str,
                    "resource!": {"name!": str, "target!": {"type!": str, "averageUtilization!": int}},
                }
            ],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": int},
                "scaleDown": {
                    "stabilizationWindowSeconds": int,
                    "policies": [{"type!": str, "value!": int, "periodSeconds!": int}],
                },
            },
        },
    ),
    "PodDisruptionBudget": ("policy/v1", {"maxUnavailable!": int, "selector!": SELECTOR}),
    "ServiceMonitor": (
        "monitoring.coreos.com/v1",
        {"selector!": SELECTOR, "endpoints!": [{"port!": str, "path!": str, "interval": str}]},
    ),
    "InferenceService": (
        "serving.kserve.io/v1beta1",
        {
            "predictor!": {
                "minReplicas": int,
                "maxReplicas": int,
                "model!": {
                    "modelFormat!": {"name!": str, "version": str},
                    "runtime!": str,
                    "runtimeVersion!": str,
                    "protocolVersion!": str,
                    "storageUri!": str,
                    "args": [str],
                    "ports!": [{"name!": str, "containerPort!": int, "protocol!": str}],
                    "resources!": RESOURCES,
                },
            }
        },
    ),
}


def problems(node, shape, path):
    """What is wrong with a node of a manifest, as a list of sentences."""
    if isinstance(shape, type):
        return [] if type(node) is shape else [f"{path}: {shape.__name__} expected, got {node!r}"]
    if isinstance(shape, list):
        if not isinstance(node, list) or not node:
            return [f"{path}: a list expected, got {node!r}"]
        return [line for index, each in enumerate(node) for line in problems(each, shape[0], f"{path}[{index}]")]
    if not isinstance(node, dict):
        return [f"{path}: a mapping expected, got {node!r}"]
    known = {key.rstrip("!"): inner for key, inner in shape.items()}
    missing = [f"{path}.{key} is missing" for key in known if key + "!" in shape and key not in node]
    unknown = [f"{path}.{key} is unknown" for key in node if key not in known]
    return (
        missing
        + unknown
        + [line for key in node if key in known for line in problems(node[key], known[key], f"{path}.{key}")]
    )


def pod(objects):
    return objects["Deployment", "dmf-serving"]["spec"]["template"]["spec"]


def arguments(container):
    return dict(word.removeprefix("--").split("=", 1) for word in container["args"])


def test_manifests_have_the_shape_of_their_kind(documents):
    checked = []
    for path, listed in documents.items():
        for document in listed:
            if path in ("docker-compose.yaml", "kustomization.yaml"):
                continue
            version, spec = KINDS[document["kind"]]
            shape = {"apiVersion!": str, "kind!": str, "metadata!": META, "spec!": spec}
            assert problems(document, shape, path) == []
            assert document["apiVersion"] == version
            checked.append(document["kind"])
    assert set(checked) == set(KINDS)


def test_the_shape_check_finds_typos():
    probe = {"httpGet": {"path": "/", "port": 8501}, "periodSeconds": 5, "timeoutSeconds": 3, "failureThresold": 2}
    assert problems(probe, PROBE, "probe") == [
        "probe.failureThreshold is missing",
        "probe.failureThresold is unknown",
        "probe.httpGet.port: str expected, got 8501",
    ]


def test_selectors_find_the_pods(objects):
    labels = objects["Deployment", "dmf-serving"]["spec"]["template"]["metadata"]["labels"]
    assert labels == APP
    for (kind, _), item in objects.items():
        selector = item["spec"].get("selector", APP)
        if kind == "ServiceMonitor":
            services = [each for (of, _), each in objects.items() if of == "Service"]
            chosen = [
                each for each in services if selector["matchLabels"].items() <= each["metadata"]["labels"].items()
            ]
            assert [each["metadata"]["name"] for each in chosen] == ["dmf-serving-rest"]
        else:
            assert selector.get("matchLabels", selector) == APP, kind
    (spread,) = pod(objects)["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == APP


def test_ports_are_those_of_the_flags(objects, container):
    given = arguments(container)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": int(given["port"]), "rest": int(given["rest_api_port"])} == {"grpc": 8500, "rest": 8501}
    for (kind, _), item in objects.items():
        for port in item["spec"]["ports"] if kind == "Service" else []:
            assert port["port"] == ports[port["targetPort"]] and port["name"] == port["targetPort"]


def test_grpc_service_is_headless(objects):
    assert objects["Service", "dmf-serving-grpc"]["spec"]["clusterIP"] == "None"
    assert [port["name"] for port in objects["Service", "dmf-serving-grpc"]["spec"]["ports"]] == ["grpc"]


def test_probes_ask_for_the_model(container, server_config):
    status = f"/v1/models/{server_config('models.config').name}"
    assert container["startupProbe"]["httpGet"] == {"path": status, "port": "rest"}
    assert container["readinessProbe"]["httpGet"] == {"path": status + "/metadata", "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] == 600


def test_flags_exist_and_are_those_of_compose(container, compose, flags):
    given = arguments(container)
    assert len(given) == len(container["args"])
    assert set(given) <= flags
    words = compose["services"]["serving"]["entrypoint"]
    assert [*container["command"], *container["args"]] == words


def test_model_and_configuration_are_mounted(objects, container, deploy, server_config, documents):
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(objects)["volumes"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    folder = server_config("models.config").base_path.rsplit("/", 1)[0]
    claim = volumes[mounts[folder]["name"]]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in objects

    (kustomization,) = documents["kustomization.yaml"]
    (generated,) = kustomization["configMapGenerator"]
    assert volumes[mounts["/config"]["name"]]["configMap"]["name"] == generated["name"]
    assert kustomization["generatorOptions"] == {"disableNameSuffixHash": True}
    for name, value in arguments(container).items():
        if name.endswith("_file"):
            assert value.removeprefix("/config/") in generated["files"]
    assert all((deploy / name).is_file() for name in (*generated["files"], *kustomization["resources"]))


def test_threads_fit_the_processors(container):
    given, resources = arguments(container), container["resources"]
    assert given["tensorflow_intra_op_parallelism"] == resources["requests"]["cpu"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_rollouts_keep_all_pods_and_let_calls_end(objects, container):
    deployment = objects["Deployment", "dmf-serving"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert pod(objects)["terminationGracePeriodSeconds"] >= int(seconds) + 5


def test_autoscaler_owns_the_replicas(objects):
    scaler = objects["HorizontalPodAutoscaler", "dmf-serving"]["spec"]
    target = scaler["scaleTargetRef"]
    deployment = objects[target["kind"], target["name"]]
    assert target["apiVersion"] == deployment["apiVersion"]
    assert "replicas" not in deployment["spec"]
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert objects["PodDisruptionBudget", "dmf-serving"]["spec"]["maxUnavailable"] < scaler["minReplicas"]


def test_metrics_are_scraped_where_they_are(objects, deploy, parse):
    monitoring = parse("MonitoringConfig", (deploy / "monitoring.config").read_text(encoding="utf-8"))
    (endpoint,) = objects["ServiceMonitor", "dmf-serving"]["spec"]["endpoints"]
    assert endpoint["path"] == monitoring.prometheus_config.path
    assert endpoint["port"] == "rest"


def test_kserve_serves_the_same_model(objects, documents, container, flags, server_config):
    (service,) = documents["kserve/inference-service.yaml"]
    model = service["spec"]["predictor"]["model"]
    name = server_config("models.config").name
    assert service["metadata"]["name"] == name
    assert f"pvc://{objects['PersistentVolumeClaim', 'dmf-models']['metadata']['name']}/{name}" == model["storageUri"]
    assert container["image"] == f"tensorflow/serving:{model['runtimeVersion']}"
    assert (model["protocolVersion"], model["ports"][0]["name"]) == ("grpc-v1", "h2c")
    # The runtime sets these itself; twice would be an error.
    own = {"model_name", "port", "rest_api_port", "model_base_path", "rest_api_timeout_in_ms"}
    given = arguments(model)
    assert set(given) <= flags - own
    assert given.items() <= arguments(container).items()


def test_kustomize_renders_what_the_files_say(objects, deploy, documents):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    result = subprocess.run([kubectl, "kustomize", str(deploy)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    rendered = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(result.stdout)}
    config = rendered.pop(("ConfigMap", "dmf-serving-config"))
    assert rendered == {key: item for key, item in objects.items() if key[0] != "ServiceMonitor"}
    assert config["data"] == {
        name: (deploy / name).read_text(encoding="utf-8")
        for name in ("models.config", "monitoring.config", "batching_parameters.txt")
    }
