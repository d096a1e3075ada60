"""Settings and the secret: typed, checked, never silently another."""

import base64
import resource
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from infra.running.secret import Secret, _opaque, load_secret
from infra.running.serve import CONNECTIONS_MAX, connections_for, refuse_strangers
from infra.running.settings import SettingError, Settings, from_environment, is_loopback


def test_without_variables_the_defaults_apply() -> None:
    assert from_environment({}) == Settings()


def test_variables_are_read_and_typed() -> None:
    read = from_environment({"IGOB_HOLD_S": "60", "IGOB_DATA_DIR": "/var/lib/igob", "IGOB_SCHEMA": "el_alto"})
    assert (read.hold_s, read.data_dir, read.schema) == (60, Path("/var/lib/igob"), "el_alto")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IGOB_HOLD_S", "soon"),
        ("IGOB_HOLD_S", "0"),
        ("IGOB_SCHEMA", "La Paz; DROP"),
        ("IGOB_SECRET", "short"),
        ("IGOB_QUEUE_MAX", "-1"),
        ("IGOB_CACHE_MIB", "-1"),
        ("IGOB_REQUESTS_PER_S", "-1"),
        ("IGOB_REQUESTS_PER_S", "0.5"),
        ("IGOB_ANONYMOUS_PER_S", "1000001"),
        *(
            ("IGOB_ALLOWED_ORIGINS", value)
            for value in (
                "citas.example.bo",
                "https://citas.example.bo/",
                "http://citas.example.bo",
                "null",
                "https://*.example.bo",
                "https://a.example https://b.example",
                "https://",
                "https://a.example,http://b.example",
                *("https://a.example:443", "http://localhost:80", "https://a.example:0443", "https://a.example:99999"),
                *(
                    "https://[2001:db8:0:0:0:0:0:1]",
                    "https://[:::]",
                    "https://..",
                    "https://a@b.example",
                    "https://a.example?",
                ),
                *("file://x", "ws://a.example", "javascript://x", "htps://a.example", "chrome"),
                "*",  # without an identity provider
            )
        ),
        ("IGOB_CLIENT_ADDRESS_HEADER", "X-Forwarded-For, X-Real-IP"),
        ("IGOB_OIDC_ISSUER", "http://id.example"),
        ("IGOB_OIDC_ISSUER", "id.example"),
        ("IGOB_OIDC_ISSUER", "https://[id"),
        ("IGOB_OIDC_JWKS_URL", "http://id.example/keys"),
        ("IGOB_OIDC_AUDIENCE", "two words"),
        ("IGOB_OIDC_ALGORITHMS", "none"),
        ("IGOB_OIDC_ALGORITHMS", "RS256,HS256"),
        ("IGOB_OIDC_ROLES_CLAIM", "realm..roles"),
        ("IGOB_SCHEMA", "pg_foo"),
        ("IGOB_SCHEMA", "information_schema"),
        ("IGOB_DATABASE_URL", "foo"),
        ("IGOB_DATABASE_URL", "postgresql://localhost/city"),
        ("IGOB_DATABASE_URL", "postgresql://app@localhost/city?colour=red"),
        ("IGOB_DATABASE_OWNER_URL", "http://owner@localhost/city"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        from_environment({name: value})


def test_origins_are_read_as_browsers_send_them() -> None:
    said = "https://Citas.example.bo, http://localhost:5173,capacitor://localhost,https://my_app.example,https://[2001:db8::1]:8443,"
    expected = {
        "https://my_app.example",
        "https://citas.example.bo",
        "http://localhost:5173",
        "capacitor://localhost",
        "https://[2001:db8::1]:8443",
    }
    assert from_environment({"IGOB_ALLOWED_ORIGINS": said}).origins == expected
    known = {"IGOB_OIDC_ISSUER": "https://id.example"}
    assert from_environment({"IGOB_ALLOWED_ORIGINS": "*", **known}).origins == {"*"}
    assert Settings().origins == frozenset()


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("::1", True), ("localhost", True),
    ("127.0.0.2", False), ("127.1", False), ("LOCALHOST", False), ("0:0:0:0:0:0:0:1", False),
    ("0.0.0.0", False), ("::", False), ("192.168.1.7", False), ("example.org", False), ("", False),  # noqa: S104
])  # fmt: skip
def test_without_an_identity_provider_only_loopback_is_served(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    refuse_strangers(Settings(oidc_issuer="https://id.example"), host)
    if loopback:
        refuse_strangers(Settings(), host)
    else:
        with pytest.raises(SettingError, match=r"IGOB_OIDC_ISSUER.*127\.0\.0\.1, ::1 or localhost"):
            refuse_strangers(Settings(), host)


def test_an_error_about_a_url_hides_its_password() -> None:
    with pytest.raises(SettingError, match="IGOB_DATABASE_URL") as refused:
        from_environment({"IGOB_DATABASE_URL": "postgres//app:sesame@localhost/city"})
    assert "sesame" not in str(refused.value)


def test_schema_names_similar_to_reserved_ones_are_accepted() -> None:
    for schema in ("pg", "pgcity", "information_schema_2", "_pg_x"):
        assert Settings(schema=schema).schema == schema


def test_the_secret_is_created_once_and_private(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "igob")
    with ThreadPoolExecutor(8) as pool:
        checks = {secret.check() for secret in pool.map(lambda _: load_secret(settings), range(8))}
    assert len(checks) == 1
    assert stat.S_IMODE((tmp_path / "igob" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "igob").iterdir()] == ["secret"]


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"half")
    with pytest.raises(SettingError, match="32 bytes"):
        load_secret(Settings(data_dir=tmp_path))


def test_your_own_database_needs_your_own_secret() -> None:
    with pytest.raises(SettingError, match="IGOB_SECRET"):
        load_secret(Settings(database_url="postgresql://app@localhost/city"))
    given = load_secret(Settings(database_url="postgresql://app@localhost/city", secret="ab" * 32))
    assert given.check() == Secret(bytes.fromhex("ab" * 32)).check()


def test_ids_depend_on_actor_key_kind_and_content_and_on_the_secret() -> None:
    secret = Secret(bytes(32))
    made = {
        secret.new_id("hold", "ana", "k", {"slot": 1}),
        secret.new_id("hold", "ana", "k", {"slot": 2}),
        secret.new_id("hold", "ana", "k2", {"slot": 1}),
        secret.new_id("hold", "luis", "k", {"slot": 1}),
        secret.new_id("appointment", "ana", "k", {"slot": 1}),
        Secret(b"x" * 32).new_id("hold", "ana", "k", {"slot": 1}),
    }
    assert len(made) == 6
    assert secret.new_id("hold", "ana", "k", {"slot": 1}) in made


def test_a_wrapped_key_opens_again() -> None:
    secret = Secret(bytes(32))
    key = secret.new_subject_key()
    assert secret.wrap(key) != key
    assert secret.unwrap(secret.wrap(key)) == key


def test_opaque_names_are_base_32() -> None:
    for number in range(200):
        digest = sha256(bytes([number])).digest()
        assert _opaque(digest) == base64.b32encode(digest[:16]).decode().rstrip("=").lower()


@pytest.mark.parametrize(
    ("files", "connections"),
    [
        (1, 1),
        (256, 64),
        (1_024, 256),
        (4_096, 1_096),
        (6_000, 3_000),
        (8_000, CONNECTIONS_MAX),
        (1_048_576, CONNECTIONS_MAX),
        (resource.RLIM_INFINITY, CONNECTIONS_MAX),
    ],
)
def test_a_worker_s_connections_fit_its_open_files_limit(files: int, connections: int) -> None:
    assert connections_for(files) == connections
