"""The checks of `handfast doctor`: each answers with findings, and each finding names its remedy."""
