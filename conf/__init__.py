"""Named choices of options, as YAML over the typed schemas; Hydra finds them here as `pkg://towers.conf`."""
