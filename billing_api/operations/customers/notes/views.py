"""Note read model: a note or a former text, with the accounts of who wrote it."""

from typing import NamedTuple

from billing_api.operations.audit.views import Account
from db.models.customer_care import CustomerNote, CustomerNoteVersion


class Written(NamedTuple):
    """`editor` is empty where nobody but the author has written the text."""

    note: CustomerNote
    author: Account
    editor: Account


class Former(NamedTuple):
    text: CustomerNoteVersion
    author: Account
