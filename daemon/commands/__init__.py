"""The write side: a request of an operator becomes an event."""
