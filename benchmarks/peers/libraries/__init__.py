"""Libraries, each a module of its own that is loaded in a process of its own.

`prepare(task)` gives a call without arguments that computes the task from operands which are already the library's own,
and raises NotImplementedError where the library does not offer it. `as_array(result)` is what the call returned as a
NumPy array. `versions()` names what was measured.
"""
