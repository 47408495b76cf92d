"""Stores over the services' own SDKs, and over object_store: transports to compare with."""
