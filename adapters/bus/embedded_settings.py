"""Settings of the embedded MQTT broker."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Address and access rights of the embedded MQTT broker.

    `port` 0 selects any free port. Without a username anyone who reaches the port may subscribe; this is permitted only
    on the loopback interface.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    cert_file: str = ""
    key_file: str = ""
    open_topic: str = ""
    """The only topic on which clients may publish too; empty for none."""
