"""The tables, by what they are about. Import `db.models.all_tables` where every one of them must be known."""
