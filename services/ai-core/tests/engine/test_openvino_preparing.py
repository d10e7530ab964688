"""Models are prepared for OpenVINO, also those that may only be read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ai_core.engine.backends.openvino import prepare

DEMO = Path(__file__).resolve().parents[4] / "models" / "neo-demo" / "neo-demo.gguf"


def test_a_model_that_may_only_be_read_is_served_all_the_same(tmp_path: Path) -> None:
    # As in an image, or in a volume that is mounted read-only.
    model, folder = tmp_path / "model.gguf", tmp_path / "prepared"
    shutil.copy(DEMO, model)
    model.chmod(0o444)
    folder.mkdir()
    # Root may write what nobody may, unless it gives that right up.
    without_rights = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    command = [*without_rights, sys.executable, "-m", prepare.__name__, str(model), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in folder.iterdir()} >= {
        "openvino_model.xml",
        "openvino_model.bin",
        "linears.json",
    }
