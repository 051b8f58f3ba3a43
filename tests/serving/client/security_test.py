"""TLS, mutual TLS, credentials in the metadata, and the options of a client."""

from __future__ import annotations

import datetime
import ssl

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.client import (
    BadRequest,
    ClientOptions,
    KeepAliveOptions,
    RankingClient,
    RestRankingClient,
    RetryOptions,
    ServerUnavailable,
    TlsOptions,
    Unauthenticated,
)
from serving.testing import FakeRankingServer
from tests.serving.client.servers import CLIENTS, FEATURES, MODEL, USER, items


class Authority:
    """A certificate authority of the test, with the pairs that it signed."""

    def __init__(self, folder, name):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.root = self._write(f"{name}.pem", self._certificate(self._name, self._key, authority=True))

    def pair(self, name):
        """Paths of a key and of its certificate for the host `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_path = self._folder / f"{name}.key"
        key_path.write_bytes(key.private_bytes(*form))
        return key_path, self._write(f"{name}.crt", self._certificate(subject, key, host=name))

    def _certificate(self, subject, key, *, authority=False, host="ca"):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name, certificate):
        path = self._folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def mutual(request):
    return request.param


@pytest.fixture(params=["localhost", "ranking.example"])
def host(request):
    return request.param


@pytest.fixture
def server(authority, host, mutual):
    key, chain = authority.pair(host)
    roots = authority.root.read_bytes() if mutual else None
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())], roots, mutual)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    if mutual:
        context.load_verify_locations(authority.root)
        context.verify_mode = ssl.CERT_REQUIRED
    with FakeRankingServer(MODEL, features=FEATURES, credentials=credentials, rest_tls=context) as server:
        yield server


def options(tls):
    return ClientOptions(deadline=30.0, tls=tls, retry=RetryOptions(max_attempts=2, initial_backoff=0.01))


def connect(kind, server, tls):
    return CLIENTS[kind](server.rest_target if kind == "rest" else server.target, MODEL, options(tls))


def test_tls_and_mutual_tls(server, kind, authority, host, mutual):
    key, chain = authority.pair("client") if mutual else (None, None)
    name = None if host == "localhost" else host
    with connect(kind, server, TlsOptions(authority.root, key, chain, name)) as client:
        assert len(client.rank(USER, items(3))) == 3
    as_bytes = [part and part.read_bytes() for part in (authority.root, key, chain)]
    with connect(kind, server, TlsOptions(*as_bytes, name)) as client:
        assert len(client.rank(USER, items(3))) == 3


def test_what_cannot_be_trusted_is_not_talked_to(server, kind, authority, host, mutual, tmp_path):
    stranger = Authority(tmp_path, "stranger")
    key, chain = authority.pair("client") if mutual else (None, None)
    wrong = [TlsOptions(stranger.root, key, chain, host), TlsOptions(authority.root, key, chain, "other.example"), None]
    if mutual:
        wrong += [
            TlsOptions(authority.root, server_name=host),
            TlsOptions(authority.root, *stranger.pair("client"), host),
        ]
    for tls in wrong:
        with connect(kind, server, tls) as client, pytest.raises(ServerUnavailable, match="cannot reach localhost"):
            client.rank(USER, items(3))
    assert not server.calls


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"private_key": b"x"}, "mutual TLS needs both private_key and certificate_chain"),
        ({"root_certificates": "/no/such.pem"}, "TlsOptions.root_certificates: cannot read '/no/such.pem'"),
    ],
)
def test_wrong_tls_options_are_named(kind, tls, message):
    with pytest.raises(ValueError, match=message):
        CLIENTS[kind]("localhost:1", MODEL, ClientOptions(tls=TlsOptions(**tls)))


def test_metadata_goes_with_every_call_and_may_be_renewed(kind):
    tokens = iter(["Bearer secret", "Bearer secret", "Bearer stale", "Bearer secret"])
    with FakeRankingServer(MODEL, features=FEATURES, required_metadata={"authorization": "Bearer secret"}) as server:
        target = server.rest_target if kind == "rest" else server.target
        renewed = ClientOptions(deadline=30.0, metadata=lambda: {"Authorization": next(tokens)})
        with CLIENTS[kind](target, MODEL, renewed) as client:
            assert len(client.rank(USER, items(3))) == 3
            with pytest.raises(Unauthenticated, match=r"wants credentials .*ClientOptions\(metadata=...\)") as error:
                client.rank(USER, items(3))
            assert error.value.code == "UNAUTHENTICATED"
            assert len(client.rank(USER, items(3))) == 3
        fixed = ClientOptions(deadline=30.0, metadata={"authorization": "Bearer secret"})
        with CLIENTS[kind](target, MODEL, fixed) as client:
            assert len(client.rank(USER, items(3))) == 3
        with CLIENTS[kind](target, MODEL) as client, pytest.raises(Unauthenticated):
            client.rank(USER, items(3), deadline=30.0)


def test_keepalive_and_channel_options_are_taken():
    with FakeRankingServer(MODEL, features=FEATURES) as server:
        settings = ClientOptions(
            deadline=30.0, keepalive=KeepAliveOptions(), channel_options=(("grpc.lb_policy_name", "round_robin"),)
        )
        with RankingClient(server.target, MODEL, settings) as client:
            assert len(client.rank(USER, items(3))) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClientOptions(deadline=0), "deadline must be a positive, finite number of seconds, got 0"),
        (lambda: ClientOptions(deadline=float("inf")), "must be a positive, finite"),
        (lambda: ClientOptions(max_candidates_per_call=0), "max_candidates_per_call must be at least 1, got 0"),
        (lambda: ClientOptions(max_parallel_calls=0), "max_parallel_calls must be at least 1"),
        (lambda: ClientOptions(max_message_bytes=0), "max_message_bytes must be at least 1"),
        (lambda: ClientOptions(max_history=0), "max_history must be at least 1, or None to send all, got 0"),
        (lambda: ClientOptions(compression="zip"), "compression must be 'gzip', 'deflate' or None, got 'zip'"),
        (lambda: RetryOptions(max_attempts=0), "at least 1, got 0"),
        (lambda: RetryOptions(initial_backoff=2.0), "got initial_backoff=2.0, max_backoff=1.0"),
        (lambda: KeepAliveOptions(interval=0), "must be positive, got 0 and 20"),
        (lambda: ClientOptions(deadline=10**400), "positive, finite"),
        (lambda: ClientOptions(metadata={"a": "\ud83d"}), r"metadata\['a'\] must be a string of printable ASCII"),
        (lambda: ClientOptions(metadata={"a": "b\r\nc: d"}), r"metadata\['a'\] must be"),
        (lambda: ClientOptions(metadata={"a": 3}), r"metadata\['a'\] must be .*got a int"),
        (lambda: ClientOptions(metadata={"a b": "c"}), "metadata: a name must be letters, .* got 'a b'"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("target", ["", [], [""], [None]])
def test_a_target_is_needed(kind, target):
    with pytest.raises(BadRequest, match="target must be 'host:port' or a list of such"):
        CLIENTS[kind](target, MODEL)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (lambda: {"authorization": "tok\nen"}, "ClientOptions.metadata failed: ValueError: .*printable ASCII"),
        (lambda: 1 / 0, "ClientOptions.metadata failed: ZeroDivisionError"),
        (lambda: None, "ClientOptions.metadata failed: AttributeError"),
    ],
)
def test_credentials_that_cannot_be_had_or_sent_are_named(kind, metadata, message):
    with CLIENTS[kind]("localhost:1", MODEL, ClientOptions(metadata=metadata)) as client:
        with pytest.raises(BadRequest, match=message) as error:
            client.rank(USER, items(3))
        assert error.value.field == "metadata"
        assert "tok" not in str(error.value)


@pytest.mark.parametrize(
    "target",
    [
        "localhost:port",
        "localhost:99999",
        "local host:1",
        "http://h/a b",
        "http://h/ä",
        "a..b:1",
        f"{'a' * 70}:1",
        "[::1:1",
    ],
)
def test_a_rest_target_that_is_none_is_named(target):
    with pytest.raises(BadRequest, match=r"target must be 'host:port' or an http\(s\) URL, got") as error:
        RestRankingClient(target, MODEL)
    assert error.value.field == "target"


def test_half_a_character_in_an_argument_is_named(kind):
    with pytest.raises(BadRequest, match="target is no text"):
        CLIENTS[kind]("\ud83d:1", MODEL)
    with pytest.raises(BadRequest, match="model is no text"):
        CLIENTS[kind]("localhost:1", "\ud83d")


def test_other_arguments_are_checked(kind):
    with pytest.raises(BadRequest, match="model must be the name"):
        CLIENTS[kind]("localhost:1", "")
    with pytest.raises(BadRequest, match=r"must be 'host:port' or an http\(s\) URL, got 'ftp://x'"):
        RestRankingClient("ftp://x", MODEL)
    with CLIENTS[kind]("localhost:1", MODEL) as client:
        for deadline in (0, -1.0, float("nan"), float("inf"), "soon"):
            with pytest.raises(BadRequest, match="deadline must be a positive, finite number of seconds, got") as error:
                client.rank(USER, items(3), deadline=deadline)
            assert error.value.field == "deadline"
