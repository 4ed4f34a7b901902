"""The conformance suite of arrconv."""
