"""Every model that crosses a process border: frozen, strict, with pinned wire names."""
