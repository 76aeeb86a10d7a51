"""Kafka and PostgreSQL on one machine, for `rekam up` and for the tests."""
