"""Every decoder that meets foreign bytes, as one table (``table.py``) for the fuzzer and for the ordinary tests.

A *check* takes any bytes. It passes them to one decoder and asserts what the decoder promises: a value, its documented
reason or error, and nothing else. Whatever a check raises is a finding.
"""
