"""Validator: answers NextPanel's license and quota checks from Redis, without SQL, framework or secrets at rest."""
