"""Pure rules of a licence: its key, its states, its plan, its verdict. No I/O and no clock: `now` is passed in."""
