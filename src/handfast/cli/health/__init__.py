"""What `handfast doctor` looks at: each check answers with findings, and each finding names its remedy."""
