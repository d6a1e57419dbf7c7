"""The tables, by subject. Import `db.models.all_tables` where every one of them must be known."""
