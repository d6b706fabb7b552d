"""The event bus: what is said on it, the MQTT publisher, and a broker that needs no set-up."""
