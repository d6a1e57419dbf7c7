"""Table models (SQLAlchemy), one file for each subject. Import `db.models.all_tables` where all must be known."""
