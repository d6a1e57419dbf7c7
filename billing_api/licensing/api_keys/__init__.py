"""Keys that sign the calls of NextPanel."""
