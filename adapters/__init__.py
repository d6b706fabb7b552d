"""The outside world: feeds, brokers, bus, store and calendars."""
