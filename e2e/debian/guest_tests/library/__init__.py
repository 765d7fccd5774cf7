"""A library of py_test."""

ANSWER = 42
