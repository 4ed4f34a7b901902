"""Everything that can be checked on a GPU, step by step: `python -m arrconv_conformance.gpu_check DIR`, in a checkout.

It is no subcommand of `arrconv`, since it runs the tests and the benchmark of the repository, which are not installed.
"""
