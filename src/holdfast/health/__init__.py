"""What `holdfast doctor` looks at: each check answers with findings, and each finding names its remedy."""
