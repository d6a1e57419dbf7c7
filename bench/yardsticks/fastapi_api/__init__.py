"""The API's routes for customers in FastAPI, SQLAlchemy's async ORM, Pydantic and redis-py."""
