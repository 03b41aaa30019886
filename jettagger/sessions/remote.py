"""The address and options of an inference server, as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from jettagger.display import Brief
from jettagger.errors import ConfigError, hint

__all__ = ["Remote"]

#: scheme of an address -> (protocol, encrypted)
SCHEMES = {"grpc": ("grpc", False), "grpcs": ("grpc", True), "http": ("http", False), "https": ("http", True)}


@dataclass(frozen=True)
class Remote(Brief):
    """An inference server: address, model, time limits.

    Parameters
    ----------
    address : str
        ``host:port``, with the path prefix of a gateway if there is one (HTTP only).
    model : str
        Name of the model on the server.
    version : str
        Version of the model; empty: chosen by the server.
    protocol : {"grpc", "http"}
    encrypted : bool
        Whether to use TLS.
    timeout : float
        Time limit for one request in seconds.
    patience : float
        Time in seconds during which a request is repeated if there is no answer.
    in_flight : int
        Maximum number of concurrent requests.
    local : bool
        Run the bundle's own file if the server is not available, with a warning.
    ca, certificate, key : str, optional
        PEM files for TLS: of the authority, and of this client.

    Raises
    ------
    ConfigError
        If a number is out of range, or a PEM file is given for a connection without TLS.

    Examples
    --------
    >>> Remote.at("grpc://gpu7:8001/particlenet/versions/2").version
    '2'
    """

    address: str
    model: str
    version: str = ""
    protocol: str = "grpc"
    encrypted: bool = False
    timeout: float = 30.0
    patience: float = 120.0
    in_flight: int = 3
    local: bool = False
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("timeout", 0.0), ("patience", 0.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least < value < 1e6:
                raise ConfigError(f"{name} of a remote model is {value!r}, expected seconds above 0")
        if isinstance(self.in_flight, bool) or not isinstance(self.in_flight, int) or not 1 <= self.in_flight <= 64:
            raise ConfigError(f"in_flight of a remote model is {self.in_flight!r}, expected 1 to 64 requests")
        named = [name for name in ("ca", "certificate", "key") if getattr(self, name)]
        if named and not self.encrypted:
            raise ConfigError(f"{', '.join(named)} is for a connection with TLS: grpcs:// or https://")
        if bool(self.certificate) != bool(self.key):
            got = "certificate" if self.certificate else "key"
            raise ConfigError(f"the client's certificate and key must be given together, got only the {got}")

    @classmethod
    def at(cls, url: str, model: str = "", **options: Any) -> Remote:
        """The value for a URL.

        Parameters
        ----------
        url : str
            ``grpc://host:port/model`` or ``http://``, with ``/versions/N`` for one version; ``grpcs`` and ``https`` for
            TLS.
        model : str
            Name of the model on the server, if the URL has none.
        **options
            The other fields.

        Returns
        -------
        Remote

        Raises
        ------
        ConfigError
            If the URL is not valid, or an option has an invalid value.
        """
        expected = "expected e.g. grpc://host:8001/model or http://host:8000/model"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"the address of a server is {url!r}: {error}; {expected}") from error
        if parts.scheme not in SCHEMES:
            near = hint(parts.scheme, SCHEMES)
            raise ConfigError(
                f"the address of a server is {url!r}, its scheme {parts.scheme!r}{near} is none of "
                f"{', '.join(SCHEMES)}; {expected}"
            )
        if not parts.hostname or port is None:
            raise ConfigError(f"the address of a server is {url!r}, without host or port; {expected}")
        if parts.query or parts.fragment or parts.username is not None:
            raise ConfigError(f"the address of a server is {url!r}, with more than host, port and model; {expected}")
        match = re.fullmatch(r"/?(?P<model>[^/]*)(?:/versions/(?P<version>[^/]+))?/?", parts.path)
        if match is None or not (match["model"] or model):
            raise ConfigError(f"the address of a server is {url!r}, without the model's name; {expected}")
        protocol, encrypted = SCHEMES[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        name, version = unquote(match["model"] or model), unquote(match["version"] or "")
        return cls(f"{host}:{port}", name, version, protocol, encrypted, **options)

    @property
    def url(self) -> str:
        """The URL."""
        version = f"/versions/{self.version}" if self.version else ""
        return f"{self.protocol}{'s' if self.encrypted else ''}://{self.address}/{self.model}{version}"
