"""Bugs that are planted on purpose, each with the test that must turn red: `make mutants` runs them."""
