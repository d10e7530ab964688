"""An engine that ends by an error says where, and not what it worked on."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
from ai_core.engine.last_words import keep_texts_out

def compute(text):
    try:
        {}[text]
    except KeyError as error:
        raise ValueError("cannot read " + text) from error

keep_texts_out()
compute("secret" + " words")
"""


def test_the_last_words_name_the_place_and_not_the_text() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "secret words" not in done.stderr
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["event"]) == ("error", "engine failed")
    assert said["where"][0] == "ValueError"
    assert "KeyError" in said["where"]
    assert any("in compute" in place for place in said["where"])
