"""Pure rules of a license: its key, its states, its plan, its verdict. No I/O and no clock: `now` is passed in."""
