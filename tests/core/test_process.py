"""Process limits; each test has a process of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

RAISED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from core.process import allow_many_files
print(allow_many_files(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def raised(soft: int, hard: int) -> tuple[list[int], list[dict[str, Any]]]:
    """What was allowed and what the limits are then; and what was logged."""
    program = "from core.telemetry import configure_logging\nconfigure_logging('test')\n" + RAISED
    argv = (sys.executable, "-c", program.format(soft=soft, hard=hard))
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()], [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize("hard", [800, 4_096])
def test_the_limit_of_files_is_raised_as_far_as_it_goes_and_a_low_one_is_told(hard: int) -> None:
    allowed, told = raised(soft=256, hard=hard)
    assert allowed == [hard, hard, hard]
    assert [(line["event"], line["level"], line["allowed"]) for line in told] == [
        ("process.few_files", "warning", hard)
    ]
