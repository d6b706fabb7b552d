"""The event bus: messages, the MQTT publisher, and an embedded broker that needs no set-up."""
