"""Protocol error: why a stream of bytes is refused."""


class BadStream(Exception):
    """The bytes are no HTTP that is accepted here; they are answered with `status`.

    The connection ends with it, for the beginning of the next request is unknown then.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
