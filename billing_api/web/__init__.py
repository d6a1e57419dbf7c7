"""HTTP that all routes share: problem documents, parameters, headers. It knows no domain."""
