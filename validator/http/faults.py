"""What a stream of bytes can be refused for."""


class BadStream(Exception):
    """The bytes are no HTTP that we take; `status` answers them.

    The connection ends with it, for where the next request would begin cannot be told any more.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
